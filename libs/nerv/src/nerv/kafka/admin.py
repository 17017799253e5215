# SPDX-License-Identifier: Apache-2.0
"""Describe and make topics. All calls block: run them before the loop, or in a thread."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from confluent_kafka import (
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic

from nerv.errors import Conflict, Misconfigured, NotFound, Unavailable
from nerv.kafka.faults import request_error
from nerv.kafka.hearing import keep_hearing
from nerv.kafka.settings import KafkaSettings
from nerv.topics import Topic

REQUEST_SECONDS = 10.0
PLAIN = KafkaSettings()


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as it is: a recreated one has another id."""

    name: str
    id: str
    partitions: int


@dataclass(frozen=True, slots=True)
class GroupState:
    """A consumer group as it is: whether it is at rest, its members by client id, what they have been given, and who has
    nothing.
    """

    stable: bool
    members: tuple[str, ...]
    assigned: frozenset[tuple[str, int]]
    idle: frozenset[str]


class Admin:
    """A thin hold on Kafka's admin client."""

    def __init__(self, settings: KafkaSettings, client_id: str) -> None:
        self._client = AdminClient(settings.client(client_id))
        keep_hearing(self)

    def hear(self) -> None:
        """Serve what the client has to say."""
        self._client.poll(0)

    def topics(self, timeout: float = REQUEST_SECONDS) -> dict[str, int]:
        """Every topic and its number of partitions. Raises Unavailable."""
        try:
            metadata = self._client.list_topics(timeout=timeout)
        except KafkaException as error:
            raise request_error(error) from error
        return {name: len(topic.partitions) for name, topic in metadata.topics.items()}

    def state_of(self, name: str) -> TopicState:
        """One topic. Raises NotFound or Unavailable."""
        future = self._client.describe_topics(TopicCollection([name]), request_timeout=REQUEST_SECONDS)[name]
        try:
            found = future.result()
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise NotFound(f"Kafka has no topic {name}; create it with `nerv topics create`") from None
            raise request_error(error) from error
        return TopicState(name, str(found.topic_id), len(found.partitions))

    def group(self, name: str, timeout: float = REQUEST_SECONDS) -> GroupState:
        """One consumer group; one that nobody is in is stable and empty. Raises Unavailable."""
        future = self._client.describe_consumer_groups([name], request_timeout=timeout)[name]
        try:
            found = future.result()
        except KafkaException as error:
            raise request_error(error) from error
        given = (tp for member in found.members for tp in member.assignment.topic_partitions)
        return GroupState(
            found.state in (ConsumerGroupState.STABLE, ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD),
            tuple(sorted(member.client_id for member in found.members)),
            frozenset((tp.topic, tp.partition) for tp in given),
            frozenset(member.client_id for member in found.members if not member.assignment.topic_partitions),
        )

    def carry_on(self, old: str, new: str) -> dict[str, int]:
        """Have the consumer group `new` go on where `old` stands; answers how many partitions of each topic that are.

        Raises NotFound where `old` has committed nothing, Conflict where `new` has members, or Unavailable.
        """
        asked = self._client.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(old)], request_timeout=REQUEST_SECONDS
        )
        try:
            stands = [tp for tp in asked[old].result().topic_partitions or () if tp.offset >= 0]
            if not stands:
                raise NotFound(f"the group {old} has committed no offsets; is that its name?")
            if self.group(new).members:
                raise Conflict(f"the group {new} has members; stop the services that are in it first")
            places = [TopicPartition(tp.topic, tp.partition, tp.offset) for tp in stands]
            moved = self._client.alter_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(new, places)], request_timeout=REQUEST_SECONDS
            )
            moved[new].result()
        except KafkaException as error:
            raise request_error(error) from error
        return dict(Counter(tp.topic for tp in stands))

    def create(self, topics: Iterable[Topic], *, replication: int = -1) -> list[str]:
        """Make the topics that are missing; answers their names.

        One that is there with another number of partitions is refused: keys would move (Misconfigured).
        """
        wanted = {topic.name: topic for topic in topics}
        present = self.topics()
        for name, topic in wanted.items():
            check_partitions(name, topic.partitions, present.get(name, topic.partitions))
        missing = [topic for name, topic in wanted.items() if name not in present]
        if not missing:
            return []
        futures = self._client.create_topics(
            [
                NewTopic(t.name, num_partitions=t.partitions, replication_factor=replication, config=dict(t.config))
                for t in missing
            ],
            operation_timeout=REQUEST_SECONDS,
            request_timeout=2 * REQUEST_SECONDS,
        )
        return [name for name, future in futures.items() if _made(future)]

    def wait_for(self, names: Iterable[str], seconds: float) -> None:
        """Wait until Kafka's metadata shows these topics. Raises Unavailable when time is up."""
        deadline = time.monotonic() + seconds
        missing = set(names) - self.topics().keys()
        while missing:
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"Kafka has no topic {', '.join(sorted(missing))} after {seconds:g} s; run `nerv topics create`"
                )
            time.sleep(0.1)
            missing -= self.topics().keys()


def _made(future: object) -> bool:
    try:
        future.result()  # type: ignore[attr-defined]  # a concurrent.futures.Future; the stub says object
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False  # another replica was quicker
        raise request_error(error) from error
    return True


def check_partitions(name: str, expected: int, found: int) -> None:
    """Refuse a topic with another number of partitions than expected: its keys would be elsewhere."""
    if found != expected:
        raise Misconfigured(
            f"topic {name} has {found} partitions, not {expected}; keys would move. "
            f"Set the count to {found}, or move the data to a new topic"
        )


def wait_ready(bootstrap: str, seconds: float, how: KafkaSettings = PLAIN) -> None:
    """Wait until a broker answers a metadata request. Raises Unavailable when time is up."""
    settings = how.model_copy(update={"bootstrap_servers": bootstrap})
    client = AdminClient(settings.client("nerv-wait") | {"log_level": 0})
    deadline = time.monotonic() + seconds
    while True:
        try:
            if client.list_topics(timeout=1.0).brokers:
                return
        except KafkaException:
            pass  # not yet; the deadline decides
        if time.monotonic() > deadline:
            raise Unavailable(f"Kafka at {bootstrap} did not answer within {seconds:g} s")
        time.sleep(0.05)
