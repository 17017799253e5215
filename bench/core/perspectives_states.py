# SPDX-License-Identifier: Apache-2.0
"""The states that both contestants show, and what both must show of them: `WHAT COUNT RUNS`. Standard library only."""

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2013, 1, 1, tzinfo=UTC)
TEXTS, NUMBERS, REALS = (tuple(f"{kind}{n}" for n in range(6)) for kind in ("text", "number", "real"))
FLAT = ("tailnum", "text1", "number1", "real1", "since")  # of 20
DEEP = ("tailnum", "city", "late", "leg", "since")


def state(number: int) -> dict[str, Any]:
    """One state: 20 fields at its top, some of which hold more."""
    return {
        "tailnum": f"N{number}",
        "since": START + timedelta(seconds=number),
        "position": {"city": "Tampa", "lat": 27.9},
        "leg": {"origin": "EWR", "dest": "TPA", "miles": 997 + number},
        **dict.fromkeys(TEXTS, f"some text {number}"),
        **dict.fromkeys(NUMBERS, number),
        **dict.fromkeys(REALS[:4], number / 7),
    }


def measure(show: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """States a second of `show(states)`, which gives a list of JSON-able rows."""
    what, count, runs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    states = [state(number) for number in range(count)]
    rows = show(states)
    assert len(rows) == count
    row = dict(rows[7], since=datetime.fromisoformat(rows[7]["since"]))
    since = START + timedelta(seconds=7)
    assert row == (
        {"tailnum": "N7", "text1": "some text 7", "number1": 7, "real1": 1.0, "since": since}
        if what == "flat"
        else {"tailnum": "N7", "city": "Tampa", "late": False, "leg": {"origin": "EWR", "miles": 1004}, "since": since}
    )
    began = time.perf_counter()
    for _ in range(runs):
        show(states)
    sys.stdout.write(f"{count * runs / (time.perf_counter() - began)}\n")
