# SPDX-License-Identifier: Apache-2.0
"""Settings of the projector alone: `NERV_PROJECTOR__BATCH=5000`."""

from pydantic import BaseModel, ConfigDict, PositiveInt

from nerv import topics
from nerv.service import ServiceSettings


class FoldSettings(BaseModel):
    """Bounds of folding and reading."""

    model_config = ConfigDict(frozen=True)

    # Records read, and rekeyed in one transaction, at a time. They are folded in slices of these.
    batch: PositiveInt = 10_000
    cache: PositiveInt = 50_000  # states of a projection kept in memory, so that folding on reads nothing
    scan: PositiveInt = 500_000  # events that one read as of an instant may fold
    followers: PositiveInt = 64  # readers that follow views at once; each has a consumer of its own
    choose: PositiveInt = 100_000  # views that one filtered or ordered list goes through
    scans: PositiveInt = 2  # such reads at once; beyond: 429
    rates: bool = True  # whether the owners of partitions count what comes there, for `/v1/rates`


class ProjectorSettings(ServiceSettings):
    """All settings of the projector."""

    projector: FoldSettings = FoldSettings()

    @property
    def history(self) -> str:
        """The topic of history."""
        return topics.name(self.mesh, "history.v1")

    @property
    def dead_letters(self) -> str:
        """The topic of what could not be processed."""
        return topics.name(self.mesh, "deadletters.v1")

    @property
    def control(self) -> str:
        """The topic of what is decided about projections."""
        return topics.name(self.mesh, "projections.control.v1")

    @property
    def group(self) -> str:
        """The group that says which replica should own which partitions; consumer groups of the hops begin with it."""
        return f"{self.mesh}.projector"

    def changes(self, projection: str) -> str:
        """The topic of a projection's deltas."""
        return topics.name(self.mesh, "changes.{projection}.v1", projection=projection)

    def rekeyed(self, projection: str) -> str:
        """The topic of a projection's rekeyed events."""
        return topics.name(self.mesh, "rekeyed.{projection}.v1", projection=projection)
