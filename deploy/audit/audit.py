# SPDX-License-Identifier: Apache-2.0
"""`make audit`: a bill of materials of what the image holds, and whether anything is known against it.

Every finding fails, since PyPI's advisories have no severity to tell high ones by; `accepted.toml` names those that cannot be
mended now. What could not be asked is not good: pip-audit passes over a package that its service does not know, and ends with 0.
Exits 0: nothing known; 1: findings; 3: not known, since the service could not be asked.
"""

import argparse
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
ACCEPTED = Path(__file__).with_name("accepted.toml")
PINS = ROOT / "requirements" / "mesh.txt"
GOOD, FOUND, UNKNOWN = 0, 1, 3
AUDIT_SECONDS = 600
SHOWN = 5  # packages that are named where many were not asked about


@dataclass(frozen=True, slots=True)
class Finding:
    """Something known against a package, by any of its names: PYSEC, CVE, GHSA."""

    package: str
    version: str
    names: tuple[str, ...]
    fixed_in: tuple[str, ...]

    def __str__(self) -> str:
        mended = f"mended in {', '.join(self.fixed_in)}" if self.fixed_in else "not mended yet"
        return f"{self.package} {self.version}: {', '.join(self.names)}; {mended}"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A finding that somebody answers for, until a day."""

    id: str
    package: str
    reason: str
    until: date

    def covers(self, finding: Finding) -> bool:
        """Whether this is the finding that is meant."""
        return self.package == finding.package and self.id in finding.names


def accepted(text: str) -> list[Accepted]:
    """The list of accepted.toml. Raises ValueError where a finding lacks a name, a package, a reason or an end."""
    found = []
    for entry in tomllib.loads(text).get("finding", ()):
        if (
            set(entry) != {"id", "package", "reason", "until"}
            or not entry["reason"]
            or type(entry["until"]) is not date
        ):
            raise ValueError(f"{entry} needs id, package, reason and until, which is a day")
        found.append(Accepted(**entry))
    return found


def findings(report: Mapping[str, Any]) -> list[Finding]:
    """What pip-audit found."""
    return [
        Finding(one["name"], one["version"], (vuln["id"], *vuln["aliases"]), tuple(vuln["fix_versions"]))
        for one in report["dependencies"]
        for vuln in one.get("vulns", ())
    ]


def unasked(report: Mapping[str, Any]) -> dict[str, str]:
    """The packages that its service knows nothing of, good or bad, and why."""
    return {one["name"]: one["skip_reason"] for one in report["dependencies"] if "skip_reason" in one}


def judged(found: Iterable[Finding], known: Sequence[Accepted], today: date) -> list[str]:
    """What is wrong, a line each: findings that nobody answers for, ends that have come, answers without a finding."""
    found = list(found)
    wrong = [str(finding) for finding in found if not any(entry.covers(finding) for entry in known)]
    for entry in known:
        if not any(entry.covers(finding) for finding in found):
            wrong.append(f"accepted.toml: {entry.id} is not found in {entry.package} any more; take it out")
        elif entry.until < today:
            wrong.append(
                f"accepted.toml: {entry.id} in {entry.package} was accepted until {entry.until}: {entry.reason}"
            )
    return wrong


def bill(tools: Path, environment: Path, target: Path) -> int:
    """Write the bill of materials of an environment as CycloneDX; answers the number of components."""
    options = ("--pyproject", "libs/nerv/pyproject.toml", "--mc-type", "application", "--output-reproducible")
    command = (
        tools / "cyclonedx-py",
        "environment",
        *options,
        "--of",
        "JSON",
        "-o",
        target,
        environment / "bin" / "python",
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(command, cwd=ROOT, check=True)
    return len(json.loads(target.read_text(encoding="utf-8"))["components"])


def asked(tools: Path, options: Sequence[str]) -> dict[str, Any] | str:
    """pip-audit's report on the pins, or what it said instead of one."""
    command = (tools / "pip-audit", "--requirement", PINS, "--disable-pip", "--require-hashes", "--format", "json")
    done = subprocess.run(
        (*command, "--progress-spinner", "off", *options),
        capture_output=True,
        text=True,
        check=False,
        timeout=AUDIT_SECONDS,
    )
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return done.stderr.strip().rpartition("\n")[2] or f"it ended with {done.returncode} and said nothing"
    return report


def verdict(report: Mapping[str, Any] | str, known: Sequence[Accepted], today: date) -> tuple[int, list[str]]:
    """The exit code and what there is to say. What is known to be wrong comes before what could not be asked."""
    if isinstance(report, str):
        return UNKNOWN, [f"nothing is known: pip-audit could not ask: {report}"]
    skipped = unasked(report)
    if skipped:  # an accepted finding may be one of those
        known = [entry for entry in known if entry.package not in skipped]
    if wrong := judged(findings(report), known, today):
        return FOUND, wrong
    if skipped:
        names = ", ".join(list(skipped)[:SHOWN]) + (", ..." if len(skipped) > SHOWN else "")
        first = next(iter(skipped.values()))
        return UNKNOWN, [
            f"nothing is known of {len(skipped)} of {len(report['dependencies'])} packages: {names}",
            first,
        ]
    return GOOD, [f"nothing is known against {len(report['dependencies'])} packages but {len(known)} accepted findings"]


def main() -> int:
    """The bill, then the verdict."""
    parser = argparse.ArgumentParser(description="bill of materials and known weaknesses; more options go to pip-audit")
    parser.add_argument("tools", type=Path, help="the folder of pip-audit and cyclonedx-py")
    parser.add_argument("environment", type=Path, help="a virtual environment with what the image holds")
    parser.add_argument("bill", type=Path, help="the file that is written")
    given, options = parser.parse_known_args()
    count = bill(given.tools, given.environment, given.bill.absolute())
    sys.stdout.write(f"{given.bill}: {count} components\n")
    known = accepted(ACCEPTED.read_text(encoding="utf-8"))
    code, lines = verdict(asked(given.tools, options), known, datetime.now(UTC).date())
    (sys.stdout if code == GOOD else sys.stderr).write("\n".join(lines) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
