# SPDX-License-Identifier: Apache-2.0
"""Settings of sync alone: `NERV_SYNC__DELETE_GUARD=0.1`."""

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from nerv.service import ServiceSettings


class RunSettings(BaseModel):
    """Bounds of runs."""

    model_config = ConfigDict(frozen=True)

    rows: PositiveInt = 200_000  # of a source, and streams of its category
    delete_guard: float = Field(default=0.2, ge=0.0, le=1.0)  # a greater share of deletes has to be confirmed
    runs: PositiveInt = 4  # at once on this replica; beyond: 429
    threads: PositiveInt = 2  # that read sources and compare
    load_seconds: PositiveFloat = 300.0  # for a source to be read
    answer_seconds: PositiveFloat = 20.0  # a request waits so long for its run; then it is told that the run goes on
    heartbeat_seconds: PositiveFloat = 2.0  # between signs of life of a run
    silence_seconds: PositiveFloat = 10.0  # without a sign of life after which a run counts as dead


class SyncSettings(ServiceSettings):
    """All settings of sync."""

    sync: RunSettings = RunSettings()
