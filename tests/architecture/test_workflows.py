# SPDX-License-Identifier: Apache-2.0
"""What GitHub and pre-commit run is what one runs by hand: targets of the Makefile, and nothing beside them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.faults.__main__ import SUITES

ROOT = Path(__file__).parent.parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


def loaded(path: Path) -> Any:
    """A YAML file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def commands(workflow: Any) -> Iterator[str]:
    """What its steps run."""
    for job in workflow["jobs"].values():
        yield from (step["run"] for step in job["steps"] if "run" in step)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_targets_of_the_makefile(path: Path) -> None:
    """Each of its commands is one `make`, whose target there is."""
    found = list(commands(loaded(path)))
    assert found
    for command in found:
        make, target, *_ = command.split()
        assert make == "make", command
        assert target in TARGETS, command


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_read_the_code_and_nothing_else(path: Path) -> None:
    """Its token can write nowhere, and no job lasts for ever."""
    workflow = loaded(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] <= 90 for job in workflow["jobs"].values())


def test_every_fault_suite_runs_at_night() -> None:
    """The list of the workflow is that of `make faults`."""
    jobs = loaded(ROOT / ".github" / "workflows" / "nightly.yml")["jobs"]
    assert sorted(jobs["faults"]["strategy"]["matrix"]["suite"]) == sorted(SUITES)


# What no workflow runs, and why.
BY_HAND = {"cluster-test": "takes root, and a Kubernetes whose binaries GitHub's machines do not have"}


def test_every_check_is_run_by_a_workflow() -> None:
    """Whatever the Makefile has that shows something: by itself, or as a part of another target."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    needs = {name: set(words.split()) for name, words in re.findall(r"^([a-z-]+):([^#\n]*)", makefile, re.M)}
    run = {command.split()[1] for path in WORKFLOWS for command in commands(loaded(path))}
    run |= {need for name in run for need in needs[name]}
    checks = {
        name
        for name in TARGETS
        if name in ("test", "check", "faults", "fuzz", "audit") or name.endswith(("-check", "-test"))
    }
    assert checks - run == set(BY_HAND), "give it a job in .github/workflows, or a line above with the reason"


def test_a_commit_is_checked_by_the_same_target() -> None:
    """pre-commit calls `make check`, with what is pinned here."""
    [repo] = loaded(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repo["repo"] == "local"
    assert [hook["entry"] for hook in repo["hooks"]] == ["make check"]
