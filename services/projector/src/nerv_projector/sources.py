# SPDX-License-Identifier: Apache-2.0
"""The topics that a projection reads first, with a number for each of their partitions, and their records as events. Pure.

Of history alone the number is the partition. A record of a topic of anybody may have no `ce_` headers: it is then an event of the
type that the app declares for its topic, whose id is its place.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from nerv import topics
from nerv.app import App, ProjectionSpec
from nerv.app.reading import HISTORY
from nerv.cloudevents import Incoming, to_headers
from nerv.cloudevents.kafka_binding import BARE_RECORD
from nerv.errors import Invalid
from nerv.kafka import Received
from nerv.kafka.deadletters import where
from nerv.types.event import JSON
from nerv_projector.records import Sourced
from nerv_projector.settings import ProjectorSettings

SPREAD = 10_000  # more partitions than any topic has

Partition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Sources:
    """The topics by their full names. `bare`: what records without a type are, by topic. `expire`: whether they may."""

    topics: tuple[str, ...]
    bare: Mapping[str, str]
    expire: bool = False

    def number(self, partition: Partition) -> int:
        """Of a partition, among all of them."""
        return self.topics.index(partition[0]) * SPREAD + partition[1]

    def place(self, number: int) -> Partition:
        """The other way round."""
        return self.topics[number // SPREAD], number % SPREAD

    def places(self, numbers: Iterable[int]) -> list[Partition]:
        """Of several."""
        return [self.place(number) for number in numbers]

    def read(self, record: Received) -> Sourced:
        """The event in a record, complete. Raises Invalid."""
        topic = record.topic()
        event = Incoming(record.headers(), record.value(), where(record), record.timestamp()[1])
        if event.type != BARE_RECORD:
            return event, record
        found = event.event()
        known = replace(found, type=self.bare.get(topic, BARE_RECORD), content_type=JSON)
        return Incoming(to_headers(known), record.value(), found.id, record.timestamp()[1]), record


def sources_of(settings: ProjectorSettings, app: App, spec: ProjectionSpec) -> Sources:
    """What a projection of the app reads first."""
    named = {topic: _full(settings, topic) for topic in spec.topics or (HISTORY,)}
    bare = {full: kind for topic, full in named.items() if (kind := app.bare_type(topic)) is not None}
    return Sources(tuple(named.values()), bare, spec.ephemeral)


def _full(settings: ProjectorSettings, topic: str) -> str:
    return settings.history if topic == HISTORY else topics.full(settings.mesh, topic)


def key_of(record: Received) -> str:
    """The key of a record as a key of a view. Raises Invalid."""
    try:
        key = (record.key() or b"").decode()
    except UnicodeDecodeError:
        raise Invalid("the key of the record is not UTF-8; declare a key for the projection") from None
    if not key:
        raise Invalid("the record has no key; declare a key for the projection")
    return key
