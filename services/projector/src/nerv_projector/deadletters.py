# SPDX-License-Identifier: Apache-2.0
"""What could not be processed goes to the dead letters, awaited (rule 15)."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import structlog

from nerv.errors import NervError
from nerv.kafka import Position, Producer, Received
from nerv.kafka.deadletters import Place, count_letters, dead_letter, where
from nerv.kafka.faults import batch_error

log = structlog.get_logger(__name__)


class Letter(NamedTuple):
    """A record, why it could not be processed, and how often that was tried."""

    record: Received
    cause: str
    attempt: int = 1


class Letters(Protocol):
    """Where what could not be processed goes. At least once."""

    async def write(self, letters: Sequence[Letter], by: str) -> Sequence[Place]:
        """Write, and wait until it is durable; where each stands."""
        ...


class DeadLetters:
    """Writes to `<mesh>.deadletters.v1`. At least once: a crash before the cursor moves writes the letter again."""

    def __init__(self, producer: Producer, topic: str) -> None:
        self._producer = producer
        self._topic = topic

    async def write(self, letters: Sequence[Letter], by: str) -> Sequence[Place]:
        """Write, and wait until Kafka has all of them. Raises the gravest error of any."""
        for record, cause, attempt in letters:
            log.error("poison", by=by, origin=where(record), cause=cause, attempt=attempt)
        records = [dead_letter(self._topic, r, cause, by, attempt=attempt) for r, cause, attempt in letters]
        found = await self._producer.publish(records)
        if errors := [one for one in found if isinstance(one, NervError)]:
            raise batch_error(errors, len(records))
        for topic, count in Counter(record.topic() for record, _, _ in letters).items():
            count_letters(topic, by, count)
        return [Place(one.partition, one.offset) for one in found if isinstance(one, Position)]
