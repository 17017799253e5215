# SPDX-License-Identifier: Apache-2.0
"""The records port: named bytes that change together, for what is kept beside a side of a sync."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from nerv.types import Description


class Records(Protocol):
    """Bytes by name, and one head that says what state they are in. Every change is of a whole, and only on the head seen.

    A change is atomic also when the process dies; what was written may be lost with the machine, and then all of the latest.
    Implemented in memory and over RocksDB (`nerv.sync.records`).
    """

    async def head(self) -> bytes | None:
        """The head; None before the first write. Raises Unavailable."""
        ...

    async def read(self, names: Sequence[bytes]) -> list[bytes | None]:
        """What stands under each name, None for nothing, in their order. Raises Unavailable."""
        ...

    async def write(self, changes: Mapping[bytes, bytes | None], *, head: bytes, after: bytes | None) -> None:
        """Put (None: remove) all of these and the new head, or nothing. Raises VersionConflict when the head is not `after`."""
        ...

    async def drop(self, prefix: bytes, *, after: bytes | None) -> None:
        """Remove every record whose name begins so; the head stays. Raises VersionConflict when the head is not `after`."""
        ...

    def describe(self) -> Description:
        """The records as data."""
        ...
