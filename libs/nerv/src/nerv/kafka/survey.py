# SPDX-License-Identifier: Apache-2.0
"""What Kafka says of topics and groups now, asked from the loop: a request for all of it, and no thread of ours."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec

from nerv.errors import NotFound, Unavailable
from nerv.kafka.faults import request_error
from nerv.kafka.hearing import keep_hearing
from nerv.kafka.settings import KafkaSettings
from nerv.types import Description

REQUEST_SECONDS = 10.0
PATIENCE_SECONDS = 5.0  # with the client, which should itself say when a request has taken too long
ASK_AGAIN_SECONDS = 0.1
LOOK_SECONDS = 3.0
NONE = -1  # of an instant behind the last record

Partition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a partition is: the broker that leads it, those that have it, those that are in step. Numbers of brokers."""

    partition: int
    leader: int | None
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]


class Survey:
    """Questions to Kafka that change nothing. All raise Unavailable, or what Kafka refused."""

    def __init__(self, settings: KafkaSettings, client_id: str) -> None:
        self.name = client_id
        self._config = settings.client(client_id)
        self._client = AdminClient(self._config)
        self._asked = 0
        keep_hearing(self)

    def hear(self) -> None:
        """Serve what the client has to say."""
        self._client.poll(0)

    async def starts(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The first offset that there still is."""
        return await self._offsets(partitions, OffsetSpec.earliest())

    async def ends(self, partitions: Iterable[Partition], *, written: bool = False) -> dict[Partition, int]:
        """The offset after the last record that readers see, or that is `written`.

        Between the two lies what is in a transaction; a moment long also what was committed just now, and acknowledged.
        """
        return await self._offsets(partitions, OffsetSpec.latest(), written)

    async def at(
        self, instant_ms: int, partitions: Iterable[Partition], *, written: bool = False
    ) -> dict[Partition, int]:
        """The first offset at or after an instant (milliseconds, of the record's time stamp); the end where there is none."""
        asked = list(partitions)
        # The ends first: what is committed between the two requests then lies behind the answer, and is not missed.
        ends = await self.ends(asked, written=written)
        found = await self._offsets(asked, OffsetSpec.for_timestamp(instant_ms), written)
        return {partition: offset if offset >= 0 else ends[partition] for partition, offset in found.items()}

    async def layout(self, topic: str) -> list[Layout]:
        """Where the partitions of a topic are."""
        futures = self._client.describe_topics(TopicCollection([topic]), request_timeout=REQUEST_SECONDS)
        found: Any = await self._answer(futures[topic])
        return [
            Layout(p.id, p.leader.id if p.leader else None, _ids(p.replicas), _ids(p.isr)) for p in found.partitions
        ]

    async def counts(self, topics: Iterable[str]) -> dict[str, int]:
        """How many partitions each of these topics has; those that are not there are left out."""
        names = list(topics)
        if not names:
            return {}
        futures = self._client.describe_topics(TopicCollection(names), request_timeout=REQUEST_SECONDS)
        found: dict[str, int] = {}
        for name in names:
            with suppress(NotFound):
                described: Any = await self._answer(futures[name])
                found[name] = len(described.partitions)
        return found

    async def config(self, topic: str) -> dict[str, str]:
        """What is configured of a topic otherwise than by default."""
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        [future] = self._client.describe_configs([resource], request_timeout=REQUEST_SECONDS).values()
        found: Any = await self._answer(future)
        return {name: entry.value for name, entry in found.items() if not entry.is_default and not entry.is_sensitive}

    async def groups(self) -> list[str]:
        """The names of all consumer groups."""
        found: Any = await self._answer(self._client.list_consumer_groups(request_timeout=REQUEST_SECONDS))
        return sorted(group.group_id for group in found.valid)

    async def committed(self, group: str) -> dict[Partition, int]:
        """The next offsets of a group, of all topics."""
        asked = [ConsumerGroupTopicPartitions(group)]
        futures = self._client.list_consumer_group_offsets(asked, request_timeout=REQUEST_SECONDS)
        found: Any = await self._answer(futures[group])
        return {(tp.topic, tp.partition): tp.offset for tp in found.topic_partitions if tp.offset >= 0}

    def describe(self) -> Description:
        """The survey as data: how many requests it made."""
        return Description("Survey", self.name, counters={"requests": self._asked})

    async def _offsets(
        self, partitions: Iterable[Partition], spec: OffsetSpec, written: bool = False
    ) -> dict[Partition, int]:
        isolation = IsolationLevel.READ_UNCOMMITTED if written else IsolationLevel.READ_COMMITTED
        partitions = list(partitions)
        asked: Mapping[TopicPartition, OffsetSpec] = {TopicPartition(*partition): spec for partition in partitions}
        if not asked:
            return {}

        async def once() -> dict[Partition, int]:
            futures = self._client.list_offsets(dict(asked), isolation_level=isolation, request_timeout=REQUEST_SECONDS)
            found: list[Any] = await asyncio.gather(*map(self._answer, futures.values()))
            if any(one.offset < NONE for one in found):  # so the client tells of a partition that nobody answered for
                raise Unavailable("Kafka does not say where its partitions end", retry_after=1.0)
            return {(tp.topic, tp.partition): one.offset for tp, one in zip(futures, found, strict=True)}

        # Asked again for some seconds: the leader of a new topic may not know yet that it is.
        deadline, looked = time.monotonic() + REQUEST_SECONDS, False
        while True:
            try:
                return await once()
            except NotFound:
                if looked:
                    raise
            except Unavailable:
                if looked and time.monotonic() > deadline:
                    raise
            # The client remembers for minutes how many partitions a topic had, and in which epoch they were led: after a restart
            # of Kafka it asks in vain. To look at the topics corrects it.
            await asyncio.to_thread(self._look, {topic for topic, _ in partitions})
            looked = True
            await asyncio.sleep(ASK_AGAIN_SECONDS)

    def _look(self, topics: Iterable[str]) -> None:
        for topic in topics:
            with suppress(KafkaException):  # whoever asked learns it from the question itself
                self._client.list_topics(topic, LOOK_SECONDS)

    async def _answer(self, future: "Future[Any]") -> Any:
        """Kafka's answer, or Unavailable. A client that does not even say that time is up is made anew."""
        self._asked += 1
        client = self._client
        answered = asyncio.wrap_future(future)
        # Not `wait_for`, which cancels what it waits for: the client would settle it all the same, and complain.
        done, _ = await asyncio.wait({answered}, timeout=REQUEST_SECONDS + PATIENCE_SECONDS)
        if not done:
            if self._client is client:  # and no other request has made it anew
                self._client = AdminClient(self._config)
            raise Unavailable(f"Kafka's client {self.name} did not come back; it is made anew", retry_after=1.0)
        try:
            return answered.result()
        except KafkaException as error:
            raise request_error(error) from error


def _ids(nodes: Iterable[Any]) -> tuple[int, ...]:
    return tuple(node.id for node in nodes)
