# SPDX-License-Identifier: Apache-2.0
"""Sort a batch by key: what was folded before is passed over, doubles of the rekeyer are dropped."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from nerv.app.specs import Window
from nerv.cloudevents import Incoming
from nerv.errors import Invalid
from nerv.kafka import Received
from nerv.projections import Projection
from nerv.protocols.views import Cursor, Epoch
from nerv_projector.deadletters import Letter
from nerv_projector.records import Sourced, origin_of, parse

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Keyed = tuple[Incoming, tuple[str, ...]]
"""An event, and the keys that it is folded under."""

BREATH = 500  # records sorted before the loop may answer a request


@dataclass(slots=True)
class Batch:
    """A batch by key, and from where to where it takes the cursor of each partition that it has records of."""

    events: dict[str, list[Sourced]] = field(default_factory=dict)
    begins: dict[int, Cursor] = field(default_factory=dict)
    ends: dict[int, Cursor] = field(default_factory=dict)
    letters: list[Letter] = field(default_factory=list)


class Sorter:
    """Knows how far each partition has been taken; what it has sorted it does not give again."""

    def __init__(
        self, projection: Projection[Any], epoch: Epoch, cursors: Mapping[int, Cursor],
        skipped: Callable[[], AbstractSet[str]] = frozenset,
    ) -> None:  # fmt: skip
        self._projection, self._epoch, self._skipped = projection, epoch, skipped
        self._window = projection.window
        self._reached = dict(cursors)
        self._next = {p: cursor.next_offset for p, cursor in cursors.items()}
        self._origins = {p: dict(cursor.origins) for p, cursor in cursors.items()}
        self._watermarks = {p: dict(cursor.watermarks) for p, cursor in cursors.items()}
        self._parts = {p: (str(p),) for p in cursors}  # the key of what each partition folds of a merged state
        self._keys_of = self._rekeyed if projection.rekeyed else self._part if projection.merged else self._stream

    async def sort(self, records: Sequence[Received]) -> Batch:
        """The batch of these records."""
        batch = Batch()
        following, events, keys_of = self._next, batch.events, self._keys_of
        before = dict(following)
        skipped, window = self._skipped(), self._window
        for start in range(0, len(records), BREATH):
            await asyncio.sleep(0)
            for record in records[start : start + BREATH]:
                partition, offset = record.partition(), record.offset()
                if offset < following[partition]:
                    continue
                following[partition] = offset + 1
                try:
                    event, keys = keys_of(record, partition)
                except Invalid as error:  # not an event at all, so that no key can be parked
                    batch.letters.append(Letter(record, str(error)))
                    continue
                if not keys or (skipped and event.id in skipped):
                    continue
                source = (event, record)
                for key in keys:
                    if window is not None and (cause := self._late(source, partition, window)) is not None:
                        batch.letters.append(Letter(record, cause))
                    elif key in events:
                        events[key].append(source)
                    else:
                        events[key] = [source]
        for partition, offset in following.items():
            if offset != before[partition]:
                batch.begins[partition] = self._reached[partition]
                batch.ends[partition] = self._reached[partition] = self._cursor(partition, offset)
        return batch

    def _cursor(self, partition: int, offset: int) -> Cursor:
        topic_id = self._reached[partition].topic_id
        return Cursor(topic_id, offset, dict(self._origins[partition]), dict(self._watermarks[partition]))

    def _late(self, source: Sourced, partition: int, window: Window) -> str | None:
        """Why an event is folded no more. By the times of events alone, kept with the cursor: it is the same in every fold."""
        event, record = source
        origin = origin_of(record)[1] if self._projection.rekeyed else partition
        time, latest = _microseconds(event.event().time), self._watermarks[partition].get(origin)
        if latest is not None and time < latest - window.grace * 1_000_000:
            return f"late: {(latest - time) / 1e6:g} s behind the latest event, and the grace is {window.grace} s"
        self._watermarks[partition][origin] = time if latest is None else max(latest, time)
        return None

    def _stream(self, record: Received, partition: int) -> Keyed:
        event = parse(record)
        return event, self._projection.keys(event)  # one at most

    def _part(self, record: Received, partition: int) -> Keyed:
        event = parse(record)
        return event, self._parts[partition] if event.type in self._projection.types else ()

    def _rekeyed(self, record: Received, partition: int) -> Keyed:
        epoch, source, position = origin_of(record)
        origins = self._origins[partition]
        event = parse(record)
        if epoch != self._epoch.token or position < origins.get(source, 0):
            return event, ()  # of another epoch, or a double
        origins[source] = position + 1
        return event, ((record.key() or b"").decode(),)


def _microseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(microseconds=1)
