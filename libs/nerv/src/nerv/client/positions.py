# SPDX-License-Identifier: Apache-2.0
"""How far history reaches for this client, by what it has been told: its reads see its own writes, and no less than where it has
been told that history ends, on any replica.
"""

from collections.abc import Iterable

from nerv.errors import Invalid
from nerv.protocols.history import Appended, AppendOutcome


class Positions:
    """The furthest position token of each partition. Goes along with every read as `min_position`."""

    def __init__(self) -> None:
        self._offsets: dict[int, int] = {}

    def note(self, outcomes: Iterable[AppendOutcome]) -> None:
        """Keep the tokens of what was done."""
        for outcome in outcomes:
            if isinstance(outcome, Appended):
                known = self._offsets.get(outcome.partition, -1)
                self._offsets[outcome.partition] = max(known, outcome.offset)

    def reached(self, end: str) -> None:
        """Keep that history has come to this position, `0:42,1:17`: the offsets that come next."""
        for partition, following in _offsets(end).items():
            if following:
                self._offsets[partition] = max(self._offsets.get(partition, -1), following - 1)

    def params(self) -> dict[str, str | int | None]:
        """The parameters of a read: as fresh as its owner has it, and no older than these positions."""
        if not self._offsets:
            return {}
        text = ",".join(f"{partition}:{offset}" for partition, offset in sorted(self._offsets.items()))
        return {"min_position": text, "consistency": "default"}


def between(after: str, until: str) -> str | None:
    """What is left from one position, `0:42,1:17`, to another, as a page's token says it: `0:42-100,1:17-90`. None for nothing.

    Raises Invalid where the second is not the later one.
    """
    first, last = _offsets(after), _offsets(until)
    if first.keys() != last.keys() or any(first[partition] > last[partition] for partition in first):
        raise Invalid(f"{until[:60]!r} is no position after {after[:60]!r}; this history has not come so far")
    if first == last:
        return None
    return ",".join(f"{partition}:{low}-{last[partition]}" for partition, low in sorted(first.items()))


def _offsets(text: str) -> dict[int, int]:
    try:
        return {
            int(partition): int(offset) for partition, _, offset in (part.partition(":") for part in text.split(","))
        }
    except ValueError:
        raise Invalid(f"{text[:60]!r} is no position such as 0:42,1:17") from None
