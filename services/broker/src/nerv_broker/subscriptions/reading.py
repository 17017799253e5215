# SPDX-License-Identifier: Apache-2.0
"""How far one subscription has come, what it sends of the records it reads, and as what. No I/O but to find its start."""

from collections.abc import Callable, Mapping

import orjson

from nerv.cloudevents import from_record, to_json_line
from nerv.errors import Invalid
from nerv.kafka import BatchConsumer, Received
from nerv.kafka.deadletters import where
from nerv.types import Event
from nerv_broker.middleware import Chains
from nerv_broker.subscriptions.pacing import Pacer
from nerv_broker.subscriptions.positions import Edge, Place, position

Offsets = dict[int, int]


class Reading:
    """How far one subscription has come. `offsets` are the next ones to read, `until` the first ones that are not wanted."""

    def __init__(
        self,
        topic: str,
        start: Offsets,
        until: Offsets | None,
        chooses: Callable[[Event[bytes]], bool],
        pacer: Pacer,
        chains: Chains,
    ) -> None:
        self.topic, self.offsets, self.until, self.pacer = topic, start, until, pacer
        self._chooses, self._chains = chooses, chains
        self._passed = False  # records that were passed over since the last event that was sent

    def begin(self) -> bytes:
        """The position to begin with, so that the reader can go on from here whatever happens; and the end of a range."""
        first = f"id: {position(self.offsets)}\n"
        if self.until is None:
            return f"{first}\n".encode()
        return f"{first}event: range\ndata: ".encode() + orjson.dumps({"to": position(self.until)}) + b"\n\n"

    def end(self) -> bytes:
        """That the range was read whole."""
        return f"id: {position(self.offsets)}\nevent: end\ndata: {{}}\n\n".encode()

    def ended(self, read: Mapping[tuple[str, int], int]) -> bool:
        """Whether the range is read whole; `read` says how far each partition had no more."""
        if self.until is None:
            return False
        # A range may end with transaction markers, which no consumer sees.
        return all(max(o, read.get((self.topic, p), 0)) >= self.until[p] for p, o in self.offsets.items())

    def take(self, record: Received) -> tuple[bool, Event[bytes] | None]:
        """Whether to send a record, and its event. Moves on."""
        partition, offset = record.partition(), record.offset()
        if self.until is not None and offset >= self.until[partition]:
            return False, None
        self.offsets[partition] = offset + 1
        try:
            event = from_record(
                record.headers(), record.value(), origin=where(record), timestamp_ms=record.timestamp()[1]
            )
        except Invalid:
            return True, None
        # Before the choice: who may not see a field cannot find out what it holds by choosing, either.
        [behind] = self._chains.delivered(self.topic, [event])
        if behind.error is not None:
            return True, None
        if behind.event is not None and self._chooses(behind.event):
            return True, behind.event
        self._passed = True
        return False, None

    def piece(self, record: Received, event: Event[bytes] | None) -> bytes:
        """One event with the position after it. What is none is passed on, too: the reader must see what it cannot read."""
        self._passed = False
        name = b"id: " + position(self.offsets, record.partition()).encode() + b"\n"
        try:
            if event is None:
                raise Invalid(f"record {where(record)} is no CloudEvent, or was refused by a middleware")
            return name + b"data: " + to_json_line(event) + b"\n\n"
        except (Invalid, orjson.JSONEncodeError) as error:
            document = orjson.dumps({"origin": where(record), "detail": str(error)})
            return name + b"event: malformed\ndata: " + document + b"\n\n"

    def passed(self) -> bytes | None:
        """The position, where records were passed over since the last event: from there the reader may go on."""
        if not self._passed:
            return None
        self._passed = False
        return f"id: {position(self.offsets)}\n\n".encode()


async def resolve(consumer: BatchConsumer, topic: str, partitions: int, place: Place) -> Offsets:
    """The offset that a place means in each partition that is read. Raises Invalid or Unavailable."""
    everything = [(topic, p) for p in range(partitions)]
    if place.instant is not None:
        found = await consumer.offsets_at(int(place.instant.timestamp() * 1000), everything)
        return {partition: offset for (_, partition), offset in found.items()}
    if place.offsets is None:
        edge = 0 if place.edge is Edge.EARLIEST else 1
        return {p: (await consumer.bounds((topic, p)))[edge] for p in range(partitions)}
    for partition, offset in place.offsets.items():
        low, high = await consumer.bounds((topic, partition))
        if not low <= offset <= high:
            raise Invalid(
                f"{topic} has offsets {low} to {high} in partition {partition}, {offset} is outside; "
                "start from earliest to read what is left"
            )
    return dict(place.offsets)
