# SPDX-License-Identifier: Apache-2.0
"""The snapshot port: states that were folded before, so that the next fold need not begin at the first event."""

from typing import Protocol

from nerv.types import VersionedState


class Snapshots(Protocol):
    """States by stream, by the fold that made them (`fold` names it), and by version. All may be dropped at any time.

    Implemented by the memory and the SQLite history of `nerv.history`.
    """

    async def save(self, fold: str, state: VersionedState[bytes]) -> None:
        """Keep a state. The same stream, fold and version again replaces it."""
        ...

    async def nearest(self, stream: str, fold: str, version: int | None = None) -> VersionedState[bytes] | None:
        """The latest one up to a version (None: of all); None where there is none."""
        ...

    async def drop(self, stream: str | None = None) -> int:
        """Drop those of a stream, or all; answers how many there were."""
        ...
