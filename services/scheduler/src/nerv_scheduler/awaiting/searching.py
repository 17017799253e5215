# SPDX-License-Identifier: Apache-2.0
"""Look through a topic for an event that was written before its wait was reached."""

import asyncio

from nerv.kafka import BatchConsumer, KafkaSettings
from nerv.kafka.survey import Survey
from nerv_scheduler.awaiting.delivering import Deliverer, looked_through_until_ms
from nerv_scheduler.awaiting.matching import Arrived, Matching
from nerv_scheduler.record import RunRecord, Wait
from nerv_scheduler.waiting import awaited_key

AT_ONCE = 2  # searches; each has a consumer of its own, and reads as fast as it can
FETCHED_KIB = 8192


class Searcher:
    """Searches. Implements `nerv_scheduler.controls.Searching`."""

    def __init__(self, kafka: KafkaSettings, name: str, matching: Matching, deliverer: Deliverer) -> None:
        self._kafka = kafka
        self._name = name
        self._matching = matching
        self._deliverer = deliverer
        self._survey: Survey | None = None
        self._room = asyncio.Semaphore(AT_ONCE)

    async def search(self, record: RunRecord, node: str, wait: Wait) -> bool:
        """Record the first event that a wait is for and that was written since its run was started, or since the wait was opened.

        Raises Unavailable.
        """
        topic = self._matching.topic_of(wait.name.partition(" ")[0])
        if topic is None:  # the app does not have the event any more
            return False
        async with self._room:
            found = await self._find(topic, looked_through_until_ms(record, node), awaited_key(wait))
        if found is not None:
            await self._deliverer.record(record, node, found)
        return found is not None

    async def _find(self, topic: str, since_ms: int, key: str) -> Arrived | None:
        if self._survey is None:
            self._survey = Survey(self._kafka, self._name)
        partitions = [(topic, layout.partition) for layout in await self._survey.layout(topic)]
        starts = await self._survey.at(since_ms, partitions)
        ends = await self._survey.ends(partitions)
        left = {partition: end for partition, end in ends.items() if starts[partition] < end}
        if not left:
            return None
        name = f"{self._name}-search"
        assign = {partition: starts[partition] for partition in left}
        found: list[Arrived] = []
        async with BatchConsumer(
            self._kafka, name, name, assign=assign, ends=True, fetched_kib=FETCHED_KIB
        ) as consumer:
            async for batch in consumer.batches_to(left):
                found += [
                    one for one in self._matching.arrived(batch) if key in one.keys and one.written_ms >= since_ms
                ]
        return min(found, key=lambda one: one.written_ms, default=None)
