# SPDX-License-Identifier: Apache-2.0
"""Compare two versions of a projection, key by key, in order of the keys: bounded memory, however many there are."""

from dataclasses import dataclass, field
from typing import Any

import orjson

from nerv.protocols.views import Epoch, View, Views
from nerv.state import written_between
from nerv_projector.reading import every

EXAMPLES = 20  # of each kind in a report

Keyed = tuple[str, View]


@dataclass(slots=True)
class Parity:
    """What differs. `fields` counts the keys in which a field of the state differs; examples are the first of each kind."""

    same: int = 0
    differing: int = 0
    only_left: int = 0
    only_right: int = 0
    fields: dict[str, int] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not (self.differing or self.only_left or self.only_right)

    def one_sided(self, key: str, *, left: bool) -> None:
        """A key that only one of them has."""
        self.only_left += left
        self.only_right += not left
        self._example(self.only_left if left else self.only_right, {"key": key, "only": "left" if left else "right"})

    def both(self, key: str, left: View, right: View) -> None:
        """A key that both have. Versions count events folded; they differ where a fold takes others."""
        if left.state == right.state and (left.parked is None) == (right.parked is None):
            self.same += 1
            return
        changes = orjson.loads(written_between(left.state, right.state))
        names = sorted({str(path[0]) if path else "" for path, _, _ in changes})
        if not changes and (left.parked is None) == (right.parked is None):
            self.same += 1  # the same in another order of members
            return
        self.differing += 1
        for name in names or ["parked"]:
            self.fields[name] = self.fields.get(name, 0) + 1
        self._example(self.differing, {"key": key, "differs": names or ["parked"], "changes": changes[:5]})

    def _example(self, number: int, example: dict[str, Any]) -> None:
        if number <= EXAMPLES:
            self.examples.append(example)

    def to_dict(self) -> dict[str, Any]:
        """For an answer."""
        return {
            "equal": self.equal,
            "same": self.same,
            "differing": self.differing,
            "only_live": self.only_left,
            "only_built": self.only_right,
            "fields": self.fields,
            "examples": self.examples,
        }


async def compare(left: tuple[Views, Epoch], right: tuple[Views, Epoch]) -> Parity:
    """What differs between two versions as they stand. Events that only one has folded yet differ, too."""
    found = Parity()
    ours, theirs = every(None, *left), every(None, *right)
    a, b = await anext(ours, None), await anext(theirs, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a[0].encode() < b[0].encode()):
            assert a is not None  # noqa: S101 - one of them is there, and this tells mypy which
            found.one_sided(a[0], left=True)
            a = await anext(ours, None)
        elif a is None or b[0].encode() < a[0].encode():
            found.one_sided(b[0], left=False)
            b = await anext(theirs, None)
        else:
            found.both(a[0], a[1], b[1])
            a, b = await anext(ours, None), await anext(theirs, None)
    return found
