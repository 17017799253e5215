# SPDX-License-Identifier: Apache-2.0
"""Settings of the scheduler alone: `NERV_SCHEDULER__CONCURRENCY=32`."""

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt

from nerv.partition.partitioner import default_workers
from nerv.service import ServiceSettings
from nerv.workflows import TASK_LIMIT


class WorkSettings(BaseModel):
    """How a replica works."""

    model_config = ConfigDict(frozen=True)

    concurrency: PositiveInt = 16  # tasks at once; also the most threads of tasks that are not async
    lease_seconds: float = Field(default=6.0, ge=0.5)  # a task whose replica is silent for so long goes to another
    quantum_seconds: float = Field(default=0.05, ge=0.0, le=1.0)  # tiny tasks are done together for so long; 0: never
    processes: PositiveInt = Field(
        default_factory=lambda: default_workers("processes")
    )  # at most, for tasks that ask for one
    process_bytes: int = Field(default=2 * 1024**3, ge=0)  # address space of each; 0: no bound
    http_allow: tuple[str, ...] = ()  # URLs whose scheme, host and port `nerv.http` effects may call
    results: str | None = (
        None  # a URL that fsspec knows: results of more than 64 KiB are put there; None: what the app says
    )
    result_bytes: PositiveInt = 64 * 1024**2  # of one result
    stealing: bool = True  # a replica without work takes half of what another has taken and not begun
    backlog: PositiveInt = 500_000  # tasks that may wait for a worker; beyond, new runs are refused: 429
    drain_seconds: float = Field(default=4.0, ge=0.0, le=5.0)  # on SIGTERM; what is unfinished then goes to others
    tasks: PositiveInt = TASK_LIMIT  # of one workflow; beyond: 413
    keep_seconds: PositiveInt = 3600  # an ended run stays in Redis; afterwards it is read from history
    losses: NonNegativeInt = 5  # a task whose replica has died more often than this fails for good
    sweep_seconds: float = Field(default=600.0, ge=1.0)  # about how often history is compared with the queue
    retry_first_seconds: PositiveFloat = 0.5  # pause before the first retry; it doubles
    retry_longest_seconds: PositiveFloat = 30.0


class SchedulerSettings(ServiceSettings):
    """All settings of the scheduler."""

    scheduler: WorkSettings = WorkSettings()
