# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.faults.temporal.replica`: a replica of temporal as it is, on a machine that is not as it should be.

FAULTS_CLOCK_SKEW is by how many seconds its clock is off. With FAULTS_OWNS_ALL=1 it takes itself for the owner of every
partition, whatever the group says.
"""

import os
from datetime import datetime, timedelta
from typing import Self

from dependency_injector import providers

from nerv.clock import SystemClock
from nerv.kafka.owning import Owners
from nerv.service import Service, run
from nerv_temporal.app import Wiring, build
from nerv_temporal.owner import PartitionOwner
from nerv_temporal.settings import TemporalSettings


class SkewedClock(SystemClock):
    """A wall clock that is off."""

    def __init__(self, seconds: float) -> None:
        self._skew = timedelta(seconds=seconds)

    def now(self) -> datetime:
        """The instant that this machine believes in."""
        return super().now() + self._skew


class ConvincedOwners(Owners[PartitionOwner]):
    """Owns everything, always. Only the fences are in its way."""

    async def __aenter__(self) -> Self:
        await self._caught_up()
        await self._gained(set(range(self._ownership.partitions)))
        return self


def build_replica(settings: TemporalSettings) -> Service:
    """The service, with what is wrong with its machine."""
    skew = float(os.environ.get("FAULTS_CLOCK_SKEW", "0"))
    Wiring.clock.override(providers.Singleton(SkewedClock, skew))
    if os.environ.get("FAULTS_OWNS_ALL") == "1":
        Wiring.owners.set_provides(ConvincedOwners)
    return build(settings)


if __name__ == "__main__":
    run("temporal", TemporalSettings, build_replica)
