# SPDX-License-Identifier: Apache-2.0
"""Settings of temporal alone: `NERV_TEMPORAL__TICK_EVENTS=2000`."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt

from nerv import topics
from nerv.kafka.owning import Ownership
from nerv.service import ServiceSettings


class TickSettings(BaseModel):
    """Bounds of the write path of one partition."""

    model_config = ConfigDict(frozen=True)

    tick_events: PositiveInt = 2000  # events in one transaction
    tick_bytes: PositiveInt = 8 * 1024 * 1024  # of data in one transaction
    waiting: PositiveInt = 20_000  # requests that may wait for a tick; beyond: 429
    waiting_bytes: PositiveInt = 64 * 1024 * 1024  # of their data; beyond: 429
    answer_seconds: PositiveFloat = 15.0  # a request without a verdict by then is unknown, or was never tried


class ReadSettings(BaseModel):
    """Bounds of streamed answers: `NERV_READS__SUBSCRIBERS=5000`."""

    model_config = ConfigDict(frozen=True)

    subscribers: PositiveInt = 1000  # streamed answers at a time, with or without an end; beyond: 429
    heartbeat_seconds: PositiveFloat = 10.0  # proxies close what says nothing for 30 s or so


class TemporalSettings(ServiceSettings):
    """All settings of temporal."""

    temporal: TickSettings = TickSettings()
    reads: ReadSettings = ReadSettings()

    @property
    def ownership(self) -> Ownership:
        """Whose partitions the owners of this replica own, and within which bounds."""
        ticks = self.temporal
        return Ownership(
            self.kafka,
            self.history,
            self.partitions,
            "temporal",
            self.instance,
            self.http.url,
            tick_records=ticks.tick_events,
            tick_bytes=ticks.tick_bytes,
            waiting=ticks.waiting,
            waiting_bytes=ticks.waiting_bytes,
            answer_seconds=ticks.answer_seconds,
        )

    @property
    def history(self) -> str:
        """The topic of history."""
        return topics.name(self.mesh, "history.v1")

    @property
    def barriers(self) -> str:
        """The topic of records that prove ownership."""
        return topics.name(self.mesh, "barriers.v1")

    @property
    def commands(self) -> str:
        """The topic of append requests sent over Kafka."""
        return topics.name(self.mesh, "commands.v1")

    @property
    def replies(self) -> str:
        """The topic of their answers."""
        return topics.name(self.mesh, "replies.v1")

    @property
    def deadletters(self) -> str:
        """The topic of what could not be processed."""
        return topics.name(self.mesh, "deadletters.v1")

    @property
    def index_dir(self) -> Path:
        """The folder of the index; it can be deleted at any time while the service is down."""
        return (self.data_dir or Path(".nerv") / "data" / f"temporal-{self.mesh}") / "index"
