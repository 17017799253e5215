# SPDX-License-Identifier: Apache-2.0
"""How far history reaches for this client, by what it has been told: its reads see its own writes, on any replica."""

from collections.abc import Iterable

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

    def params(self) -> dict[str, str | int | None]:
        """The parameters of a read: as fresh as its owner has it, and no older than these positions."""
        if not self._offsets:
            return {}
        text = ",".join(f"{partition}:{offset}" for partition, offset in sorted(self._offsets.items()))
        return {"min_position": text, "consistency": "default"}
