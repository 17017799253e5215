# SPDX-License-Identifier: Apache-2.0
"""What batches come to before it is written, and the states that are kept in memory."""

import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nerv.cloudevents import Incoming
from nerv.kafka.deadletters import Place
from nerv.protocols.views import View
from nerv.telemetry import Carrier
from nerv_projector.batching import Batch
from nerv_projector.changes import Cause, Change, cause_of
from nerv_projector.deadletters import Letter
from nerv_projector.model import Entity
from nerv_projector.records import Sourced


@dataclass(slots=True)
class Kept:
    """What became of a key: from which version and state of it, and by which event last, if anything of it has changed."""

    entity: Entity[Any]
    partition: int
    version: int
    state: bytes
    cause: Cause | None = None


@dataclass(slots=True)
class Folded:
    """What batches come to: the keys of their events, and how many events of each partition are folded."""

    keys: dict[str, Kept] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    last: dict[int, Incoming] = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)
    traces: list[Carrier] = field(default_factory=list)  # of batches that are traced: the spans that folded them
    poisoned: dict[str, Letter] = field(default_factory=dict)  # the letter of each key that is parked now
    began: float = 0.0  # when the first batch was folded, by the monotonic clock

    def add(self, key: str, before: Entity[Any], after: Entity[Any], sources: Sequence[Sourced]) -> None:
        """What became of a key. One that is parked may have changed in nothing else."""
        kept = self.keys.get(key)
        if kept is None:
            partition = sources[0][1].partition()
            kept = self.keys[key] = Kept(after, partition, before.version, before.data)
        else:  # it goes from where it was before an earlier batch to where it is after this one
            kept.entity = after
        if count := after.version - before.version:
            event, partition = sources[count - 1][0], kept.partition
            kept.cause = cause_of(event)
            self.counts[partition] = self.counts.get(partition, 0) + count
            self.last[partition] = event

    def took(self, batch: Batch) -> None:
        """All of this batch is in here now."""
        if not self.batches:
            self.began = time.monotonic()
        self.batches.append(batch)

    def with_keys(self, more: Iterable[str]) -> int:
        """How many keys there are, together with these."""
        known = self.keys
        return len(known) + sum([key not in known for key in more])

    def views(self) -> dict[str, View]:
        """The keys as they are stored."""
        return {key: kept.entity.view(kept.partition) for key, kept in self.keys.items()}

    def changes(self) -> list[Change]:
        """What has changed, as those who follow it are told."""
        return [
            (key, kept.version, kept.state, kept.entity, kept.cause)
            for key, kept in self.keys.items()
            if kept.cause is not None
        ]

    def noted(self, places: Sequence[Place]) -> None:
        """The letters of the parked keys stand there."""
        for key, place in zip(self.poisoned, places, strict=True):
            entity = self.keys[key].entity
            entity.parked = {**(entity.parked or {}), "letter": str(place)}

    def newest(self) -> dict[int, datetime]:
        """When an event of each partition that is among the last ones was recorded."""
        events = {partition: incoming.event() for partition, incoming in self.last.items()}
        return {partition: event.recorded_time or event.time for partition, event in events.items()}


class Cache:
    """The states used last, at most `limit`."""

    def __init__(self, limit: int) -> None:
        self._entities: OrderedDict[str, Entity[Any]] = OrderedDict()
        self._limit = limit

    def without(self, keys: Iterable[str]) -> list[str]:
        """Those of these keys of which nothing is known."""
        known = self._entities
        return [key for key in keys if key not in known]

    def get(self, key: str) -> Entity[Any] | None:
        """What is known of a key. It is kept longer once it is updated."""
        return self._entities.get(key)

    def forget(self, keys: Iterable[str]) -> None:
        """Of these only the store knows."""
        for key in keys:
            self._entities.pop(key, None)

    def update(self, entities: Mapping[str, Entity[Any]]) -> None:
        """Keep these as the newest, and let the oldest go."""
        known = self._entities
        for key, entity in entities.items():
            known[key] = entity
            known.move_to_end(key)
        while len(known) > self._limit:
            known.popitem(last=False)
