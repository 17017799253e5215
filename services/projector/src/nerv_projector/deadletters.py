# SPDX-License-Identifier: Apache-2.0
"""What could not be processed goes to the dead letters, awaited (rule 15)."""

from collections.abc import Sequence
from typing import Protocol

import structlog

from nerv.kafka import Producer, Received
from nerv.kafka.deadletters import dead_letter, where

log = structlog.get_logger(__name__)

Letter = tuple[Received, str]
"""A record, and why it could not be processed."""


class Letters(Protocol):
    """Where what could not be processed goes. At least once."""

    async def write(self, letters: Sequence[Letter], by: str) -> None:
        """Write, and wait until it is durable."""
        ...


class DeadLetters:
    """Writes to `<mesh>.deadletters.v1`. At least once: a crash before the cursor moves writes the letter again."""

    def __init__(self, producer: Producer, topic: str) -> None:
        self._producer = producer
        self._topic = topic

    async def write(self, letters: Sequence[Letter], by: str) -> None:
        """Write, and wait until Kafka has all of them. Raises the gravest error of any."""
        for record, cause in letters:
            log.error("poison", by=by, origin=where(record), cause=cause)
        await self._producer.publish_all([dead_letter(self._topic, r, cause, by) for r, cause in letters])
