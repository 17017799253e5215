# SPDX-License-Identifier: Apache-2.0
"""What every implementation of `nerv.protocols.Snapshots` does."""

from nerv.protocols import Snapshots
from nerv.types import EntityId, VersionedState, VersionId, utc_now


def at(version: int, stream: str = "thing-1", data: bytes = b"{}") -> VersionedState[bytes]:
    """A state of a stream at a version."""
    return VersionedState(EntityId(stream), VersionId(version), data, utc_now(), utc_now())


class SnapshotsContract:
    """Inherit it and give a fixture `snapshots`, empty for each test."""

    async def test_the_nearest_below_a_version_is_found(self, snapshots: Snapshots) -> None:
        """Whole, in whatever order they were saved; None where there is none."""
        states = {version: at(version) for version in (10, 30, 20)}
        for state in states.values():
            await snapshots.save("totals", state)
        found = [await snapshots.nearest("thing-1", "totals", version) for version in (9, 10, 29, 99, None)]
        assert found == [None, states[10], states[20], states[30], states[30]]

    async def test_streams_and_folds_do_not_mix(self, snapshots: Snapshots) -> None:
        """Each has its own."""
        await snapshots.save("totals", at(1))
        assert await snapshots.nearest("thing-1", "other") is None
        assert await snapshots.nearest("thing-2", "totals") is None

    async def test_a_second_one_of_a_version_replaces_the_first(self, snapshots: Snapshots) -> None:
        """And counts once."""
        await snapshots.save("totals", at(1, data=b"1"))
        await snapshots.save("totals", at(1, data=b"2"))
        found = await snapshots.nearest("thing-1", "totals")
        assert found is not None
        assert found.state == b"2"
        assert await snapshots.drop() == 1

    async def test_they_can_be_dropped(self, snapshots: Snapshots) -> None:
        """Those of a stream, or all."""
        for stream in ("thing-1", "thing-2"):
            for version in (1, 2):
                await snapshots.save("totals", at(version, stream))
        assert await snapshots.drop("thing-1") == 2
        assert await snapshots.nearest("thing-1", "totals") is None
        assert await snapshots.nearest("thing-2", "totals") is not None
        assert await snapshots.drop() == 2
        assert await snapshots.drop() == 0
