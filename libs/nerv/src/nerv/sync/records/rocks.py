# SPDX-License-Identifier: Apache-2.0
"""Records in a folder, by RocksDB: for one process at a time, and there again after a restart.

rocksdict is an extra of the library (`nerv-mesh[rocksdb]`); this module alone imports it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from rocksdict import Options, Rdict, WriteBatch

from nerv.cancelling import finished
from nerv.errors import Misconfigured, Unavailable, VersionConflict
from nerv.types import Description, Health

T = TypeVar("T")

_HEAD = b"h"
_RECORD = b"r"  # before every name, so that none is the head


class RocksRecords:
    """`nerv.protocols.records.Records` in a folder; use as `async with`. A killed process loses nothing that was answered.

    Raises Misconfigured for a folder that another process has open, or that is no RocksDB.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._db: Any = None
        self._turn = asyncio.Lock()
        self._writes = 0

    async def __aenter__(self) -> Self:
        self._db = await asyncio.to_thread(_open, self._path)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with self._turn:
            db, self._db = self._db, None
            await asyncio.to_thread(db.close)

    async def head(self) -> bytes | None:
        """The head (see `Records.head`)."""
        return await self._run(lambda db: db.get(_HEAD))

    async def read(self, names: Sequence[bytes]) -> list[bytes | None]:
        """The records of these names (see `Records.read`)."""
        if not names:
            return []
        return await self._run(lambda db: db.get([_RECORD + name for name in names]))

    async def write(self, changes: Mapping[bytes, bytes | None], *, head: bytes, after: bytes | None) -> None:
        """Change all of it (see `Records.write`)."""

        def work(db: Any) -> None:
            _check(db, after)
            batch = WriteBatch(raw_mode=True)
            for name, data in changes.items():
                if data is None:
                    batch.delete(_RECORD + name)
                else:
                    batch.put(_RECORD + name, data)
            batch.put(_HEAD, head)
            db.write(batch)
            self._writes += 1

        await self._run(work)

    async def drop(self, prefix: bytes, *, after: bytes | None) -> None:
        """Remove what begins so (see `Records.drop`)."""

        def work(db: Any) -> None:
            _check(db, after)
            batch = WriteBatch(raw_mode=True)
            iterator = db.iter()
            iterator.seek(_RECORD + prefix)
            while iterator.valid() and iterator.key().startswith(_RECORD + prefix):
                batch.delete(iterator.key())
                iterator.next()
            db.write(batch)

        await self._run(work)

    def describe(self) -> Description:
        """The records as data."""
        health = Health.DOWN if self._db is None else Health.OK
        return Description("RocksRecords", self._path.name, counters={"writes": self._writes}, health=health)

    async def _run(self, work: Callable[[Any], T]) -> T:
        async with self._turn:
            if self._db is None:
                raise Unavailable(f"records {self._path} are not open; use them as `async with`")
            # A caller that goes away must not leave the database to a thread that is still using it.
            return await finished(asyncio.ensure_future(asyncio.to_thread(_mapped, work, self._db)))


def _mapped(work: Callable[[Any], T], db: Any) -> T:
    try:
        return work(db)
    except VersionConflict:
        raise
    except Exception as error:  # rocksdict raises bare Exception
        raise Unavailable(f"RocksDB: {error}", retry_after=1.0) from error


def _check(db: Any, after: bytes | None) -> None:
    if db.get(_HEAD) != after:
        raise VersionConflict("the records were changed by another writer; read the head again")


def _open(path: Path) -> Any:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return Rdict(str(path), options)
    except Exception as error:  # rocksdict raises bare Exception
        raise Misconfigured(
            f"records {path} cannot be opened: {error}; one process has them at a time, and digests that are broken "
            "may be deleted: they are made again"
        ) from error
