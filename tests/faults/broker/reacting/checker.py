# SPDX-License-Identifier: Apache-2.0
"""What a history of reactions must be: each effect once and in order, and nothing that waits. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

RULES = ("lost append", "double append", "order", "lost publish", "double publish", "lag", "left")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was found in the end. `published` counts numbers by customer, as a reader of committed records sees them."""

    appended: Mapping[str, Sequence[int]] = field(default_factory=dict)
    published: Mapping[str, Counter[int]] = field(default_factory=dict)
    lag: int = 0
    left: int = 0  # dead letters that wait for people


def check(wanted: Mapping[str, Sequence[int]], found: Outcome) -> dict[str, list[str]]:
    """The violations by rule; `wanted` are the numbers of each customer in the order in which they were published."""
    violations: dict[str, list[str]] = {rule: [] for rule in RULES}
    for customer, numbers in wanted.items():
        appended, published = found.appended.get(customer, ()), found.published.get(customer, Counter())
        counts = Counter(appended)
        violations["lost append"] += [f"{customer} {n}" for n in numbers if not counts[n]]
        violations["double append"] += [f"{customer} {n}: {times} times" for n, times in counts.items() if times > 1]
        firsts = list(dict.fromkeys(appended))
        if firsts != sorted(firsts):
            violations["order"].append(f"{customer}: {next(a for a, b in pairwise(firsts) if a > b)}")
        violations["lost publish"] += [f"{customer} {n}" for n in numbers if not published[n]]
        violations["double publish"] += [
            f"{customer} {n}: {times} times" for n, times in published.items() if times > 1
        ]
    if found.lag:
        violations["lag"].append(f"{found.lag} events")
    if found.left:
        violations["left"].append(f"{found.left} letters")
    return violations
