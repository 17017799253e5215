# SPDX-License-Identifier: Apache-2.0
"""Records without Kafka, and letters without a post office."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from nerv.cloudevents import to_headers
from nerv.kafka.deadletters import Place
from nerv.protocols.views import Epoch
from nerv.state import written_between
from nerv.types import Event
from nerv_projector.changes import Change
from nerv_projector.deadletters import Letter

START = datetime(2013, 1, 1, tzinfo=UTC)


@dataclass
class Record:
    """A record as a consumer hands it over."""

    topic_: str
    partition_: int
    offset_: int
    key_: bytes | None
    value_: bytes | None
    headers_: list[tuple[str, bytes]]
    timestamp_ms: int = 0

    def topic(self) -> str:
        return self.topic_

    def partition(self) -> int:
        return self.partition_

    def offset(self) -> int:
        return self.offset_

    def key(self) -> bytes | None:
        return self.key_

    def value(self) -> bytes | None:
        return self.value_

    def headers(self) -> list[tuple[str, bytes]] | None:
        return self.headers_  # the same list each time, as confluent-kafka does

    def timestamp(self) -> tuple[int, int]:
        return 1, self.timestamp_ms


def event(kind: str, stream: str, data: object, number: int = 1) -> Event[bytes]:
    """An event of history; `data` is bytes as they are, or what becomes JSON."""
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    time = START + timedelta(hours=number)
    return Event(
        f"e{number}", "test", kind, time, body, subject=stream, recorded_time=time, sequence=number, traceparent=None
    )


def record(found: Event[bytes], *, offset: int, partition: int = 0, topic: str = "m.history.v1") -> Record:
    """The record of an event in history."""
    return Record(topic, partition, offset, found.stream.encode(), found.data, to_headers(found))


@dataclass
class Told:
    """Keeps what changed: key, from which version to which, and the delta."""

    changes: list[tuple[str, int, int, Any]] = field(default_factory=list)

    live: int | None = 0
    said: list[int] = field(
        default_factory=list
    )  # how many changes there were when it was said that the version is live

    def since(self) -> int | None:
        """As it is set."""
        return self.live

    async def write(self, epoch: Epoch, changes: Sequence[Change], told: int | None) -> int | None:
        """Keep them in order."""
        if self.live is None:
            return None
        if self.live != told:
            self.said.append(len(self.changes))
        for key, version, state, after, _ in changes:
            delta = json.loads(written_between(state, after.data))
            self.changes.append((key, version, after.version, delta))
        return self.live


@dataclass
class Kept:
    """Keeps the letters that it is given."""

    letters: list[tuple[str, str]] = field(default_factory=list)

    async def write(self, letters: Sequence[Letter], by: str) -> Sequence[Place]:
        """Keep cause and writer; each stands behind the one before."""
        start = len(self.letters)
        self.letters += [(cause, by) for _, cause, _ in letters]
        return [Place(0, number) for number in range(start, len(self.letters))]
