# SPDX-License-Identifier: Apache-2.0
"""Settings of the broker alone: `NERV_BROKER__SUBSCRIBERS=500`."""

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt

from nerv import topics
from nerv.schemas import Compatibility
from nerv.service import ServiceSettings


class EdgeSettings(BaseModel):
    """Bounds of publishing, subscribing and reacting."""

    model_config = ConfigDict(frozen=True)

    in_flight: PositiveInt = 50_000  # records that may wait for Kafka; beyond: 429
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


class BrokerSettings(ServiceSettings):
    """All settings of the broker."""

    broker: EdgeSettings = EdgeSettings()

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
