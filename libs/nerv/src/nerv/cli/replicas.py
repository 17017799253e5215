# SPDX-License-Identifier: Apache-2.0
"""What replicas say of themselves, as people read it. Pure."""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

STEPS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
UP, DEGRADED = "up", "degraded"


def status_of(replica: Mapping[str, Any]) -> str:
    """`up`, or what it is doing instead, or what is wrong with it; with `degraded` before it, where it works all the same."""
    health = replica["health"]
    if health["status"] == "ok":
        return UP
    if health["phase"] != "running":
        return str(health["phase"])
    faults = "; ".join(f"{name}: {fault}" for name, fault in health["faults"].items())
    return f"{DEGRADED}: {faults}" if health["status"] == DEGRADED else faults


def word_of(status: str) -> str:
    """The status in one or two words, as it stands in a table."""
    return status if status in (UP, "starting", "stopping") else DEGRADED if works(status) else "not ready"


def works(status: str) -> bool:
    """Whether a replica with this status takes requests."""
    return status.partition(":")[0] in (UP, DEGRADED)


def faults_of(replicas: Iterable[Mapping[str, Any]]) -> list[str]:
    """A line for each that says more than a word; one that does not answer is named in what is said of it."""
    said = (row for row in replicas if row["status"] != word_of(row["status"]))
    return [f"{row['instance']}: {row['status']}" if "instance" in row else str(row["status"]) for row in said]


def duration(seconds: float) -> str:
    """The greatest unit and the one below: `3d 4h`, `12m 5s`, `8s`."""
    whole = int(seconds)
    for (size, unit), (below, smaller) in pairwise(STEPS):
        if whole >= size:
            return f"{whole // size}{unit} {whole % size // below}{smaller}"
    return f"{whole}s"


def ranges(numbers: Iterable[int]) -> str:
    """`0-3, 7`: which numbers there are."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and found[-1][-1] == number - 1:
            found[-1][1:] = [number]
        else:
            found.append([number])
    return ", ".join("-".join(map(str, run)) for run in found)
