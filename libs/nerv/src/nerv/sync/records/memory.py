# SPDX-License-Identifier: Apache-2.0
"""Records in memory."""

from collections.abc import Mapping, Sequence

from nerv.errors import VersionConflict
from nerv.types import Description


class MemoryRecords:
    """`nerv.protocols.records.Records` in a dictionary. Nothing survives it."""

    def __init__(self) -> None:
        self._records: dict[bytes, bytes] = {}
        self._head: bytes | None = None

    async def head(self) -> bytes | None:
        """The head (see `Records.head`)."""
        return self._head

    async def read(self, names: Sequence[bytes]) -> list[bytes | None]:
        """The records of these names (see `Records.read`)."""
        return list(map(self._records.get, names))

    async def write(self, changes: Mapping[bytes, bytes | None], *, head: bytes, after: bytes | None) -> None:
        """Change all of it (see `Records.write`)."""
        self._check(after)
        for name, data in changes.items():
            if data is None:
                self._records.pop(name, None)
            else:
                self._records[name] = data
        self._head = head

    async def drop(self, prefix: bytes, *, after: bytes | None) -> None:
        """Remove what begins so (see `Records.drop`)."""
        self._check(after)
        for name in [name for name in self._records if name.startswith(prefix)]:
            del self._records[name]

    def describe(self) -> Description:
        """The records as data."""
        return Description("MemoryRecords", "records", counters={"held": len(self._records)})

    def _check(self, after: bytes | None) -> None:
        if self._head != after:
            raise VersionConflict("the records were changed by another writer; read the head again")
