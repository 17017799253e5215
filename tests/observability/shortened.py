# SPDX-License-Identifier: Apache-2.0
"""The alert rules as they are, but for how long they wait and how much is too much: so that a fault of seconds is one."""

import re
from pathlib import Path
from typing import Any

import yaml

RULES = Path(__file__).parent.parent.parent / "deploy/prometheus/alerts.yml"
FOR, WINDOW = "2s", "20s"
# What is too much of what seconds cannot bring about.
LIMITS = {
    "NervGroupLag": ("> 10000", "> 100"),
    "NervGroupDelay": ("> 60", "> 5"),
    "NervProjectionDelay": ("> 60", "> 5"),
    "NervQueueOld": ("> 60", "> 5"),
    "NervQueueDeep": ("> 10000", "> 20"),
}


def names() -> list[str]:
    """Every alert that there is."""
    return [rule["alert"] for group in _read()["groups"] for rule in group["rules"]]


def write(path: Path) -> None:
    """The rules for a test. Raises ValueError where a limit is not in its rule any more."""
    document = _read()
    for group in document["groups"]:
        for rule in group["rules"]:
            _shorten(rule)
    path.write_text(yaml.safe_dump(document, width=1000), encoding="utf-8")


def _shorten(rule: dict[str, Any]) -> None:
    if "for" in rule:
        rule["for"] = FOR
    rule["expr"] = re.sub(r"\[\d+[mh]\]|(?<=offset )\d+[mh]", lambda found: _short(found[0]), rule["expr"])
    if rule["alert"] in LIMITS:
        usual, test = LIMITS[rule["alert"]]
        if usual not in rule["expr"]:
            raise ValueError(f"{rule['alert']}: {usual} is not in {rule['expr']}")
        rule["expr"] = rule["expr"].replace(usual, test)


def _short(found: str) -> str:
    return f"[{WINDOW}]" if found.startswith("[") else WINDOW


def _read() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return document
