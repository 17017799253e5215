# SPDX-License-Identifier: Apache-2.0
"""Read the topic of dead letters: some letters by their places, or page by page."""

from collections.abc import AsyncGenerator, Iterable, Mapping
from itertools import groupby
from typing import NamedTuple

from nerv.errors import Invalid
from nerv.kafka import BatchConsumer, KafkaSettings, Received
from nerv.kafka.deadletters import DeadLetter, Place, read_letter

NEAR = 2000  # letters that stand so close together are read in one go
BATCH = 500


class Found(NamedTuple):
    """What stands among the dead letters, and when it was written (ms); no letter where it cannot be read as one."""

    place: Place
    written_ms: int
    letter: DeadLetter | None


Spans = Mapping[int, tuple[int, int]]
"""Of each partition, the first offset and the one after the last."""


class LetterBox:
    """The topic of dead letters, read in no group; nothing is committed."""

    def __init__(self, kafka: KafkaSettings, client_id: str, topic: str) -> None:
        self._kafka, self._name, self._topic = kafka, f"{client_id}-letters", topic

    async def fetch(self, places: Iterable[Place]) -> dict[Place, DeadLetter]:
        """The letters at these places; those that are gone, or are no letters, are left out. Raises Unavailable."""
        found: dict[Place, DeadLetter] = {}
        for _, near in groupby(sorted(places), key=lambda place: (place.partition, place.offset // NEAR)):
            part = set(near)
            first, last = min(part), max(part)
            span = {first.partition: (first.offset, last.offset + 1)}
            letters = {one.place: one.letter async for one in self.read(span)}
            found |= {place: letter for place in part if (letter := letters.get(place)) is not None}
        return found

    async def read(self, spans: Spans) -> AsyncGenerator[Found, None]:
        """What stands there, in order of each partition. Raises Unavailable."""
        left = {p: end for p, (start, end) in spans.items() if start < end}
        if not left:
            return
        assign = {(self._topic, p): spans[p][0] for p in left}
        consumer = BatchConsumer(
            self._kafka, self._name, self._name, assign=assign, reset="earliest", batch=BATCH, eager=True, ends=True
        )
        async with consumer:
            async for batch in consumer.batches_to({(self._topic, p): end for p, end in left.items()}):
                for record in batch:
                    if record.offset() < left[record.partition()]:
                        place = Place(record.partition(), record.offset())
                        yield Found(place, record.timestamp()[1], _letter(record))


def _letter(record: Received) -> DeadLetter | None:
    try:
        return read_letter(record)
    except Invalid:
        return None
