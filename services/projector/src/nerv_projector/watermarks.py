# SPDX-License-Identifier: Apache-2.0
"""What Kafka says of topics: their ids, how many partitions, where each begins and ends."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from nerv.kafka import BatchConsumer, KafkaSettings
from nerv.kafka.admin import Admin, check_partitions
from nerv.kafka.survey import Survey

Bounds = tuple[int, int]
"""The first offset, and the one after the last that is committed."""


class Watermarks:
    """Asks Kafka. Use as `async with`."""

    def __init__(self, kafka: KafkaSettings, client_id: str, group: str, partitions: int) -> None:
        self._kafka, self._client_id, self._group = kafka, client_id, group
        self.partitions = partitions
        self._admin = Admin(kafka, f"{client_id}-admin")
        self._survey = Survey(kafka, f"{client_id}-survey")
        self._stack = AsyncExitStack()
        self._consumer: BatchConsumer | None = None

    async def __aenter__(self) -> Self:
        consumer = BatchConsumer(self._kafka, f"{self._client_id}-watermarks", f"{self._group}.watermarks")
        self._consumer = await self._stack.enter_async_context(consumer)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def ids(self, topics: Iterable[str]) -> dict[str, str]:
        """Kafka's id of each topic. Raises NotFound, Unavailable, or Misconfigured for another number of partitions."""
        found = {}
        for topic in topics:
            state = await asyncio.to_thread(self._admin.state_of, topic)
            check_partitions(topic, self.partitions, state.partitions)
            found[topic] = state.id
        return found

    async def offsets_at(self, topic: str, instant_ms: int) -> Mapping[int, int]:
        """The first offset of each partition at or after an instant. Raises Unavailable."""
        asked = [(topic, p) for p in range(self.partitions)]
        return {p: offset for (_, p), offset in (await self._survey.at(instant_ms, asked, written=True)).items()}

    def _asked(self) -> BatchConsumer:
        if self._consumer is None:
            raise RuntimeError("use it as `async with`")
        return self._consumer

    async def bounds(self, topic: str) -> Mapping[int, Bounds]:
        """Where each partition of a topic begins and ends. Raises Unavailable."""
        consumer = self._asked()
        numbers = range(self.partitions)
        found = await asyncio.gather(*(consumer.bounds((topic, p)) for p in numbers))
        return dict(zip(numbers, found, strict=True))
