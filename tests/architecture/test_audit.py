# SPDX-License-Identifier: Apache-2.0
"""What `make audit` concludes from what pip-audit says. The reports are its own, shortened, of pins of this repository."""

import importlib.util
import sys
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
TODAY = date(2026, 11, 27)
CLEAN = {"dependencies": [{"name": "yarl", "version": "1.25.1", "vulns": []}], "fixes": []}
HIT = {
    "dependencies": [
        *CLEAN["dependencies"],
        {
            "name": "requests",
            "version": "2.34.2",
            "vulns": [
                {
                    "id": "CVE-2026-0001",
                    "fix_versions": ["99.1"],
                    "aliases": ["GHSA-xxxx-test"],
                    "description": "a test",
                }
            ],
        },
    ],
    "fixes": [],
}
SKIPPED = {
    "dependencies": [
        *CLEAN["dependencies"],
        {"name": "redis", "skip_reason": "Dependency not found on PyPI and could not be audited: redis (8.1.0)"},
    ],
    "fixes": [],
}


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    """deploy/audit/audit.py, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("deploy_audit", ROOT / "deploy" / "audit" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def entry(audit: ModuleType, name: str = "GHSA-xxxx-test", package: str = "requests", until: date = TODAY) -> Any:
    """An accepted finding."""
    return audit.Accepted(name, package, "its command line alone", until)


def test_nothing_known_is_good(audit: ModuleType) -> None:
    """Only where every package was asked about."""
    code, lines = audit.verdict(CLEAN, [], TODAY)
    assert code == audit.GOOD
    assert lines == ["nothing is known against 1 packages but 0 accepted findings"]


def test_a_finding_is_told_with_its_remedy(audit: ModuleType) -> None:
    """Its names, and the version that mends it."""
    code, lines = audit.verdict(HIT, [], TODAY)
    assert code == audit.FOUND
    assert lines == ["requests 2.34.2: CVE-2026-0001, GHSA-xxxx-test; mended in 99.1"]


@pytest.mark.parametrize(
    "report", [SKIPPED, "Could not connect to PyPI's vulnerability feed"], ids=["skipped", "no report"]
)
def test_what_could_not_be_asked_is_not_good(audit: ModuleType, report: Any) -> None:
    """Not asked, or not known there: both are unknown, whatever pip-audit's own exit code."""
    code, lines = audit.verdict(report, [], TODAY)
    assert code == audit.UNKNOWN
    assert "nothing is known" in lines[0]


def test_a_finding_comes_before_what_could_not_be_asked(audit: ModuleType) -> None:
    """A report with both is a finding."""
    both = {"dependencies": [*HIT["dependencies"], *SKIPPED["dependencies"]], "fixes": []}
    assert audit.verdict(both, [], TODAY)[0] == audit.FOUND


def test_an_accepted_finding_passes_until_its_day(audit: ModuleType) -> None:
    """By any of its names, for its package alone."""
    assert audit.verdict(HIT, [entry(audit)], TODAY)[0] == audit.GOOD
    assert audit.verdict(HIT, [entry(audit, "CVE-2026-0001")], TODAY)[0] == audit.GOOD
    assert audit.verdict(HIT, [entry(audit, package="yarl")], TODAY)[0] == audit.FOUND
    code, lines = audit.verdict(HIT, [entry(audit, until=date(2026, 11, 26))], TODAY)
    assert code == audit.FOUND
    assert "accepted until 2026-11-26" in lines[0]


def test_what_is_mended_leaves_the_list(audit: ModuleType) -> None:
    """An accepted finding that is not found any more is in the way of nobody but the next one."""
    code, lines = audit.verdict(CLEAN, [entry(audit)], TODAY)
    assert code == audit.FOUND
    assert "take it out" in lines[0]


def test_the_list_of_accepted_findings_is_whole(audit: ModuleType) -> None:
    """Each has a name, a package, a reason and an end; the example in the file is one."""
    text = audit.ACCEPTED.read_text(encoding="utf-8")
    audit.accepted(text)
    lines = text.splitlines()
    example = "\n".join(line.removeprefix("# ") for line in lines[lines.index("# [[finding]]") :])
    assert [one.package for one in audit.accepted(example)] == ["example"]
    with pytest.raises(ValueError, match="needs id, package, reason and until"):
        audit.accepted('[[finding]]\nid = "CVE-1"\npackage = "redis"\nreason = ""\nuntil = 2026-12-31\n')
