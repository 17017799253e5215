# SPDX-License-Identifier: Apache-2.0
"""What Kafka says of topics: their ids, how many partitions, where each begins and ends."""

import asyncio
from collections.abc import Container, Iterable, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from nerv.errors import NotFound, Unavailable
from nerv.kafka import BatchConsumer, KafkaSettings
from nerv.kafka.admin import Admin, TopicState, check_partitions
from nerv.kafka.survey import Survey

RETENTION_MS = 7 * 24 * 3_600_000  # Kafka's own default, where nothing else is configured
MS_A_DAY = 24 * 3_600_000

Partition = tuple[str, int]
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

    async def topics(self, names: Iterable[str], *, foreign: Container[str] = ()) -> dict[str, TopicState]:
        """The topics as they are. Raises NotFound, Unavailable, or Misconfigured for one of the mesh's own with another number of
        partitions; foreign ones may have any.
        """
        found = {}
        for topic in names:
            state = await asyncio.to_thread(self._admin.state_of, topic)
            if topic not in foreign:
                check_partitions(topic, self.partitions, state.partitions)
            found[topic] = state
        return found

    async def offsets_at(self, partitions: Iterable[Partition], instant_ms: int) -> Mapping[Partition, int]:
        """The first offset of each partition at or after an instant. Raises Unavailable."""
        return await self._survey.at(instant_ms, partitions, written=True)

    async def expiry(self, topic: str) -> str | None:
        """Why records of a topic that is there vanish some day; None where they are kept for ever. Raises Unavailable."""
        try:
            config = await self._survey.config(topic)
        except NotFound as error:  # the broker that is asked has not heard yet of one that was made a moment ago
            raise Unavailable(f"the settings of topic {topic} are not known yet: {error.detail}") from None
        policy, ms, size = (config.get(name) for name in ("cleanup.policy", "retention.ms", "retention.bytes"))
        if policy is not None and "compact" in policy:
            return "it is compacted"
        if size is not None and int(size) >= 0:
            return f"it keeps {int(size):,} bytes of each partition"
        days = int(ms or RETENTION_MS) / MS_A_DAY
        return f"it keeps records for {days:g} days" if days >= 0 else None

    def _asked(self) -> BatchConsumer:
        if self._consumer is None:
            raise RuntimeError("use it as `async with`")
        return self._consumer

    async def bounds(self, topic: str) -> Mapping[int, Bounds]:
        """Where each partition of a topic of the mesh begins and ends. Raises Unavailable."""
        found = await self.ranges([(topic, p) for p in range(self.partitions)])
        return {partition: bounds for (_, partition), bounds in found.items()}

    async def begins(self, partitions: Iterable[Partition]) -> Mapping[Partition, int]:
        """The first offset of each that there still is. Raises Unavailable."""
        return await self._survey.starts(partitions)

    async def written(self, partitions: Iterable[Partition]) -> Mapping[Partition, int]:
        """The offset after the last record of each, be it committed or not. Raises Unavailable."""
        return await self._survey.ends(partitions, written=True)

    async def ends(self, topic: str) -> Mapping[int, int]:
        """The same of each partition of a topic of the mesh."""
        found = await self.written([(topic, p) for p in range(self.partitions)])
        return {partition: end for (_, partition), end in found.items()}

    async def ranges(self, partitions: Iterable[Partition]) -> dict[Partition, Bounds]:
        """Where each of these partitions begins and ends. Raises Unavailable."""
        consumer, asked = self._asked(), list(partitions)
        found = await asyncio.gather(*map(consumer.bounds, asked))
        return dict(zip(asked, found, strict=True))
