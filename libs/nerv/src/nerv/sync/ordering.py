# SPDX-License-Identifier: Apache-2.0
"""The order in which steps are applied: parents are made before their children, and removed after them. Pure."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import orjson

from nerv.protocols.side import Action, Row, Step
from nerv.sync.errors import ParentsInCycle

Parent = Callable[[Row], str | None]
"""The key of the parent of a row's object; None for one that has none."""

SHOWN = 20  # keys of a cycle that an error names


class Waves(NamedTuple):
    """Steps in waves: what is in one depends on earlier ones alone. Those in `removing` come after all others."""

    making: list[list[Step]]
    removing: list[list[Step]]


def waves(steps: Sequence[Step], parent: Parent | None, *, apart: bool = False) -> Waves:
    """The steps in waves. Without parents there is one, or, if what is made and removed is to be `apart`, one of each.

    Raises ParentsInCycle, naming the objects.
    """
    if parent is None and not apart:
        return Waves([list(steps)] if steps else [], [])
    if parent is None:
        removed = [step for step in steps if step.action is Action.DELETE]
        made = [step for step in steps if step.action is not Action.DELETE]
        return Waves([made] if made else [], [removed] if removed else [])
    above = {"left": _parents(steps, "left", parent), "right": _parents(steps, "right", parent)}
    depths = {side: _depths(found) for side, found in above.items()}
    making: dict[int, list[Step]] = defaultdict(list)
    removing: dict[int, list[Step]] = defaultdict(list)
    for step in steps:
        (removing if step.action is Action.DELETE else making)[depths[step.side][step.key]].append(step)
    return Waves(
        [making[depth] for depth in sorted(making)], [removing[depth] for depth in sorted(removing, reverse=True)]
    )


def _parents(steps: Sequence[Step], side: str, parent: Parent) -> dict[str, str | None]:
    """The parents of a side's objects; one that is not among the steps does not count, for it is not written."""
    rows = {step.key: step.after or step.before for step in steps if step.side == side}
    found = {key: None if row is None else parent(orjson.loads(row)) for key, row in rows.items()}
    return {key: above if above in found else None for key, above in found.items()}


def _depths(parents: Mapping[str, str | None]) -> dict[str, int]:
    depths: dict[str, int] = {}
    for key in parents:
        way: dict[str, None] = {}
        at: str | None = key
        while at is not None and at not in depths:
            if at in way:
                raise _cycle([*list(way)[list(way).index(at) :], at])
            way[at] = None
            at = parents[at]
        depth = -1 if at is None else depths[at]
        for number, name in enumerate(reversed(way), start=1):
            depths[name] = depth + number
    return depths


def _cycle(keys: Sequence[str]) -> ParentsInCycle:
    shown = " → ".join(keys[:SHOWN])
    more = f" … ({len(keys) - 1} in all)" if len(keys) > SHOWN else ""
    return ParentsInCycle(
        f"these objects are parents of each other: {shown}{more}; nothing was changed. Mend the parent of one of them",
        errors=[{"key": key} for key in keys[:SHOWN]],
    )
