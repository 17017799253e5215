# SPDX-License-Identifier: Apache-2.0
"""What middleware did to the events of one topic: counts, and the last events by id."""

from collections import Counter, deque
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from nerv.bus import Outcome, Passed
from nerv.types import Event, utc_now

# One event on its way: when, which, what became of it, by which steps, and where it went. Its data is not kept. Plain tuples, for
# one is made of every event, and few are ever looked at.
NAMES = ("at", "id", "type", "outcome", "by", "topic", "detail")
Entry = tuple[datetime, str, str, Outcome, tuple[str, ...], str, str | None]


class Journal:
    """The last `keep` events, and counts of all."""

    def __init__(self, keep: int) -> None:
        self._last: deque[Entry] = deque(maxlen=keep)
        self._counts: Counter[Outcome] = Counter()
        self._steps: Counter[str] = Counter()
        self._delivered: Counter[Outcome] = Counter()

    def took(self, events: Sequence[Event[bytes]], passed: Sequence[Passed]) -> None:
        """Note a batch on its way to the topic."""
        at = utc_now()
        for one in passed[-(self._last.maxlen or 0) :]:
            event = events[one.index]
            detail = None if one.error is None else one.error.detail
            self._last.append((at, event.id, event.type, one.outcome, one.by, one.topic, detail))
        self._count(self._counts, passed)

    def gave(self, passed: Sequence[Passed]) -> None:
        """Note a batch on its way to a subscriber; of these there are as many as subscribers, so they are only counted."""
        self._count(self._delivered, passed)

    def to_dict(self) -> dict[str, Any]:
        """As JSON: counts by outcome for each way and by step, and the last events, the newest first."""
        return {
            "published": {outcome.value: self._counts[outcome] for outcome in Outcome},
            "delivered": {outcome.value: self._delivered[outcome] for outcome in Outcome},
            "did": dict(self._steps),
            "events": [
                dict(zip(NAMES, (entry[0].isoformat(), *entry[1:]), strict=True)) for entry in reversed(self._last)
            ],
        }

    def _count(self, counts: Counter[Outcome], passed: Sequence[Passed]) -> None:
        counts.update([one.outcome for one in passed])
        for one in passed:
            if one.by:
                self._steps.update(one.by)
