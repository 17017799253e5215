# SPDX-License-Identifier: Apache-2.0
"""Write history as *temporal* writes it, without one: committed transactions of CloudEvents, versions, recorded times."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from nerv.cloudevents import to_headers
from nerv.kafka import KafkaSettings, Outgoing, TransactionalProducer, partition_of
from nerv.types import Event

START = datetime(2013, 1, 1, tzinfo=UTC)
AIRPORTS = ("EWR", "JFK", "LGA", "BOS", "ORD")
CARRIERS = ("AA", "B6", "UA")
TRANSACTION = 2000


@dataclass
class Expected:
    """What the views must say, counted by separate code."""

    planes: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    airports: Counter[str] = field(default_factory=Counter)
    carriers: Counter[str] = field(default_factory=Counter)

    def count(self, trips: Iterable[dict[str, object]]) -> None:
        """Add these trips."""
        for trip in trips:
            plane, minutes = str(trip["plane"]), int(str(trip["minutes"]))
            _, flown, total = self.planes.get(plane, ("", 0, 0))
            self.planes[plane] = (str(trip["dest"]), flown + 1, total + minutes)
            self.airports.update([str(trip["origin"]), str(trip["dest"])])
            self.carriers[str(trip["carrier"])] += 1


def make_trips(count: int, *, planes: int = 50, first: int = 0) -> list[dict[str, object]]:
    """Trips number `first` and following, always the same; none lasts thirteen minutes."""
    return [
        {
            "plane": f"N{i * 7 % planes}",
            "carrier": CARRIERS[i % len(CARRIERS)],
            "origin": AIRPORTS[i % len(AIRPORTS)],
            "dest": AIRPORTS[(i + 1 + i // 5 % 3) % len(AIRPORTS)],
            "minutes": 20 + i % 100,
        }
        for i in range(first, first + count)
    ]


class Feed:
    """Appends trips to the streams `plane-<plane>`. Use as `async with`."""

    def __init__(self, kafka: str, mesh: str, partitions: int = 4) -> None:
        self._settings = KafkaSettings(bootstrap_servers=kafka)
        self._topic = f"{mesh}.history.v1"
        self._partitions = partitions
        self._versions: Counter[str] = Counter()
        self._written = 0
        self._producer = TransactionalProducer(self._settings, f"{mesh}-feed", f"{mesh}-feed")

    async def __aenter__(self) -> "Feed":
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.close()

    async def trips(self, trips: list[dict[str, object]]) -> None:
        """Append trips, one hour after the other."""
        await self.events("trip.ended.v1", [(f"plane-{trip['plane']}", trip) for trip in trips])

    async def events(self, kind: str, data: list[tuple[str, object]]) -> None:
        """Append events of any kind to any streams; `bytes` are written as they are."""
        for at in range(0, len(data), TRANSACTION):
            records = [self._record(kind, stream, body) for stream, body in data[at : at + TRANSACTION]]
            await self._producer.commit(records, {})

    def _record(self, kind: str, stream: str, body: object) -> Outgoing:
        self._versions[stream] += 1
        self._written += 1
        event = Event(
            id=f"trip-{self._written}",
            source="test",
            type=kind,
            time=START + timedelta(hours=self._written),
            data=body if isinstance(body, bytes) else json.dumps(body).encode(),
            subject=stream,
            recorded_time=START + timedelta(hours=self._written),
            sequence=self._versions[stream],
        )
        partition = partition_of(stream, self._partitions)
        return Outgoing(self._topic, event.data, stream.encode(), to_headers(event), partition)
