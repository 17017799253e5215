# SPDX-License-Identifier: Apache-2.0
"""Change feeds: one in memory, for sides whose changes somebody tells, and that of a history."""

import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import takewhile

from nerv.errors import Invalid
from nerv.protocols.history import Subscribable
from nerv.protocols.side import Changes, Position
from nerv.types import Description, Event, entity_of

KEPT = 1_000_000  # keys; whoever is further behind compares everything anew


class ChangeLog:
    """Which keys changed since when. A new process begins a new epoch, for it was told nothing while there was none."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._epoch = uuid.uuid4().hex
        self._sequence = 0
        self._cut = 0  # the sequence of the latest change that is not told any more
        self._latest: OrderedDict[str, int] = OrderedDict()  # each key at its latest change, in order of these

    def note(self, keys: Iterable[str]) -> None:
        """These have changed: tell it after the change, and before somebody may rely on it."""
        for key in keys:
            self._sequence += 1
            self._latest[key] = self._sequence
            self._latest.move_to_end(key)
        while len(self._latest) > self._kept:
            _, self._cut = self._latest.popitem(last=False)

    def missed(self) -> None:
        """Something changed, and nobody knows what: a new epoch."""
        self._epoch = uuid.uuid4().hex
        self._latest.clear()
        self._cut = self._sequence

    def describe(self) -> Description:
        """The feed as data."""
        return Description("ChangeLog", "changes", counters={"told": self._sequence})

    def since(self, after: Position | None) -> Changes | None:
        """The changes after a position (see `Side.changes`)."""
        now = Position(self._epoch, self._sequence)
        if after is None:
            return Changes((), now)
        at = after.sequence
        if after.epoch != self._epoch or not isinstance(at, int) or not self._cut <= at <= self._sequence:
            return None
        newer = takewhile(lambda item: item[1] > at, reversed(self._latest.items()))
        return Changes([key for key, _ in newer], now)


class HistoryFeed:
    """The streams of a category that had events between two positions of its history, whoever has appended them."""

    def __init__(self, history: Subscribable, category: str, kept: int = KEPT) -> None:
        self._history = history
        self._category = category
        self._kept = kept
        self._told = 0

    async def since(
        self, after: Position | None, note: Callable[[Event[bytes]], None] = lambda event: None
    ) -> Changes | None:
        """The changes after a position (see `Side.changes`); `note` is told the events."""
        now = Position(self._history.log_id, await self._history.end())
        if after is None:
            return Changes((), now)
        if after.epoch != now.epoch:
            return None
        keys: dict[str, None] = {}
        try:
            async for event in self._history.between(self._category, str(after.sequence), str(now.sequence)):
                keys[entity_of(event.stream)] = None
                note(event)
                if len(keys) > self._kept:
                    return None
        except Invalid:  # a history that has not come so far is another one
            return None
        self._told += len(keys)
        return Changes(list(keys), now)

    def describe(self) -> Description:
        """The feed as data."""
        return Description("HistoryFeed", self._category, (f"{self._category}-*",), counters={"told": self._told})
