# SPDX-License-Identifier: Apache-2.0
"""Settings of the broker alone: `NERV_BROKER__SUBSCRIBERS=500`."""

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt

from nerv import topics
from nerv.kafka import Bounds
from nerv.kafka.owning import Ownership
from nerv.schemas import Compatibility
from nerv.service import ServiceSettings


class EdgeSettings(BaseModel):
    """Bounds of publishing, subscribing and reacting."""

    model_config = ConfigDict(frozen=True)

    in_flight: PositiveInt = 50_000  # records that may wait for Kafka; beyond: 429
    in_flight_bytes: PositiveInt = 64 * 1024 * 1024  # of their data; beyond: 429
    tick_events: PositiveInt = 2000  # events that are published once in one transaction
    tick_bytes: PositiveInt = 8 * 1024 * 1024  # of their data
    waiting: PositiveInt = 20_000  # requests to publish once that may wait for an owner of keys; beyond: 429
    waiting_bytes: PositiveInt = 32 * 1024 * 1024  # of their data; beyond: 429
    answer_seconds: PositiveFloat = 15.0  # to publish once: what has no verdict by then is unknown, or was never tried
    receipts: PositiveInt = 100_000  # ids that are remembered for each partition of receipts, at least
    subscribers: PositiveInt = 2000  # open event streams; beyond: 429
    readings: PositiveInt = 50  # of them those that read for themselves: replays, and who is behind; beyond: 429
    groups: PositiveInt = 50  # that each replica hosts; beyond: 429
    heartbeat_seconds: PositiveFloat = 10.0  # a comment on an event stream that has nothing to say
    history: PositiveInt = 256  # events of a topic that /v1/topics/{topic}/history tells of
    reaction_batch: PositiveInt = 2000  # events between two commits of the reactions
    reaction_attempts: PositiveInt = 5  # then the event goes to the dead letters and its key waits
    append_lanes: PositiveInt = 4  # appends under way side by side; a stream stays in its lane, and so in order
    schema_compatibility: Compatibility = Compatibility.BACKWARD  # what a new version of a schema must be
    http_allow: tuple[str, ...] = ()  # URL prefixes that `nerv.http` effects may call

    @property
    def bounds(self) -> Bounds:
        """Of what waits for Kafka."""
        return Bounds(self.in_flight, self.in_flight_bytes)


class BrokerSettings(ServiceSettings):
    """All settings of the broker."""

    broker: EdgeSettings = EdgeSettings()

    @property
    def ownership(self) -> Ownership:
        """Which keys the owners of this replica own, and within which bounds they publish."""
        edge = self.broker
        return Ownership(
            self.kafka,
            self.receipts,
            self.partitions,
            "broker",
            self.instance,
            self.http.url,
            tick_records=edge.tick_events,
            tick_bytes=edge.tick_bytes,
            waiting=edge.waiting,
            waiting_bytes=edge.waiting_bytes,
            answer_seconds=edge.answer_seconds,
        )

    @property
    def receipts(self) -> str:
        """Where stands what was published once."""
        return topics.name(self.mesh, "receipts.v1")

    @property
    def group(self) -> str:
        """The consumer group of the reactions."""
        return f"{self.mesh}.broker"

    @property
    def deadletters(self) -> str:
        """Where goes what cannot be processed."""
        return topics.name(self.mesh, "deadletters.v1")

    @property
    def schemas(self) -> str:
        """Where schemas are registered."""
        return topics.name(self.mesh, "schemas.v1")
