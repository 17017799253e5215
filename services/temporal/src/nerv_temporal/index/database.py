# SPDX-License-Identifier: Apache-2.0
"""RocksDB, so that it can be trusted: a damaged folder is set aside and said, and never answers as if it were empty."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import structlog
from rocksdict import Rdict, WriteBatch, WriteOptions

from nerv.errors import Misconfigured, Unavailable
from nerv_temporal.index.options import counter, options

log = structlog.get_logger(__name__)

# What a start does not mend by beginning anew: the folder is somebody else's, or the disk will not have it.
OUTSIDE = ("lock", "no space left", "permission denied", "read-only file system", "too many open files")


class Database:
    """Keys and values, sorted. Deleting the folder while nobody has it open loses nothing.

    There is no log of writes: what a kill takes from memory, 32 MiB and what is being written out, is read from Kafka
    again, as fast as it would be read from a log. Files are written in the order of the batches, each whole, so that what
    is there is never ahead of the offset that it covers.
    """

    def __init__(self, path: Path, *, counted: bool = False) -> None:
        """Open the folder, or make it; one that cannot be read is set aside. Raises Misconfigured for a disk that will not."""
        self._path = path
        self._options = options(counted=counted)
        self.on_damage: Callable[[Unavailable], None] | None = None
        if self._marker.exists():
            self._set_aside("it was found damaged as it was read")
        self._db = self._open()

    @property
    def _marker(self) -> Path:
        return self._path.with_name(f"{self._path.name}.damaged")

    def close(self) -> None:
        """Flush and close."""
        self._db.flush()
        self._db.close()

    def flush(self) -> None:
        """Write what is in memory to files."""
        self._db.flush()

    def discard(self) -> None:
        """Delete everything and start empty."""
        self._db.close()
        shutil.rmtree(self._path)
        self._db = self._open()

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, or None."""
        try:
            found: bytes | None = self._db.get(key)
        except Exception as error:  # rocksdict raises bare Exception
            self._damaged(error)
        return found

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of keys, in order."""
        try:
            found: list[bytes | None] = self._db.get(list(keys))
        except Exception as error:
            self._damaged(error)
        return found

    def scan(self, low: bytes, high: bytes, *, backward: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Keys from `low` to `high`, both inclusive, with their values; from `high` down if `backward`.

        What is written meanwhile is not seen.
        """
        iterator = self._db.iter()
        if backward:
            iterator.seek_for_prev(high)
        else:
            iterator.seek(low)
        step = iterator.prev if backward else iterator.next
        while iterator.valid() and low <= (key := iterator.key()) <= high:
            yield key, iterator.value()
            step()
        try:
            iterator.status()  # a block that cannot be read ends a scan as the end of the data does
        except Exception as error:
            self._damaged(error)

    def put(self, key: bytes, value: bytes) -> None:
        """Write one key."""
        self._db.put(key, value)

    def delete(self, key: bytes) -> None:
        """Delete one key."""
        self._db.delete(key)

    def delete_range(self, first: bytes, end: bytes) -> None:
        """Delete the keys from `first` up to but without `end`."""
        self._db.delete_range(first, end)

    def write(self, batch: WriteBatch) -> None:
        """Write all of a batch, or nothing."""
        self._db.write(batch)

    def count(self, name: str) -> int:
        """One of RocksDB's counters, where it counts (see `options`)."""
        return counter(self._options, name)

    def compact(self) -> None:
        """Write everything anew, as the cold part of the index is kept. Takes a while; others may read and write."""
        self._db.flush()
        self._db.compact_range(None, None)

    def size(self) -> int:
        """Bytes in files; what is still in memory does not count."""
        return sum(int(file["size"]) for file in self._db.live_files())

    def _damaged(self, error: Exception) -> NoReturn:
        self._marker.touch()  # the next start sets the folder aside
        log.error(
            "index.damaged", error=str(error), detail="this replica ends; as it starts again it rebuilds from Kafka"
        )
        failure = Unavailable("the index of this replica is damaged; it rebuilds it from Kafka", retry_after=5.0)
        if self.on_damage is not None:
            self.on_damage(failure)
        raise failure from error

    def _open(self) -> Rdict:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._opened()
        except Exception as error:
            text = str(error)
            if any(words in text.lower() for words in OUTSIDE):
                raise Misconfigured(f"the index {self._path} cannot be opened: {text}") from error
            self._set_aside(text)
        return self._opened()

    def _opened(self) -> Rdict:
        found = Rdict(str(self._path), self._options)
        writing = WriteOptions()
        setattr(writing, "disable_wal", True)  # noqa: B010 - the stub says it is a method; it is an attribute
        found.set_write_options(writing)
        return found

    def _set_aside(self, reason: str) -> None:
        aside = self._path.with_name(f"{self._path.name}.broken")
        log.warning("index.broken", reason=reason, set_aside=aside.name, detail="it is rebuilt from Kafka")
        shutil.rmtree(aside, ignore_errors=True)  # only the last one is of use to anybody
        if self._path.exists():
            self._path.rename(aside)
        self._marker.unlink(missing_ok=True)
