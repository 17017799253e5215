# SPDX-License-Identifier: Apache-2.0
"""States that were folded before, kept beside the events they are of. They shorten folds and decide nothing.

    n <stream> 00 <fold: 8> <version: 8>               folded by version, up to this one
    v <stream> 00 <time: 8> <version: 8> <fold: 8>     folded by (time, version), up to this event

Times are microseconds since 1970 with 2^63 added, so that keys sort as times do. Each value begins with a digest of the
rest: one that was cut short or damaged is passed over, and said.
"""

import hashlib
import struct
from dataclasses import dataclass

import structlog
from rocksdict import WriteBatch

from nerv_temporal.index.database import Database

log = structlog.get_logger(__name__)

BIAS = 1 << 63
LAST = 2**63 - 1
_PAIR = struct.Struct(">QQ")
_HEAD = struct.Struct(">QQQQqq")
_DIGEST = 8


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a stream after `events` events, the last of which, in the order of the fold, is (`time_us`, `version`).

    `highest` is the highest version among them. A fold by version goes on after `resume`, which is `version`. One by time goes
    on there for what arrived in order of time: `latest_us` is the latest time up to `resume`, and what is earlier but stands
    behind arrived late.
    """

    time_us: int
    version: int
    highest: int
    events: int
    resume: int
    latest_us: int
    state: bytes


class Snapshots:
    """The snapshots in an index."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def by_version(self, stream: str, fold: bytes, version: int) -> Snapshot | None:
        """The latest of those folded by version, up to a version."""
        prefix = _prefix(b"n", stream) + fold
        for key, value in self._database.scan(prefix, prefix + version.to_bytes(8, "big"), backward=True):
            found = self._read(key, value)
            if found is not None:
                return found
        return None

    def by_time(self, stream: str, fold: bytes, time_us: int, highest: int) -> Snapshot | None:
        """The latest of those folded by time, up to an instant, that hold no event beyond version `highest`."""
        prefix = _prefix(b"v", stream)
        last = prefix + _PAIR.pack(time_us + BIAS, LAST) + b"\xff" * 8
        for key, value in self._database.scan(prefix, last, backward=True):
            if key.endswith(fold):
                found = self._read(key, value)
                if found is not None and found.highest <= highest:
                    return found
        return None

    def save(self, stream: str, fold: bytes, snapshot: Snapshot, *, by_time: bool) -> None:
        """Keep one. The caller has made sure that what it was folded of is still all there is up to it."""
        key = (
            _prefix(b"v", stream) + _PAIR.pack(snapshot.time_us + BIAS, snapshot.version) + fold
            if by_time
            else _prefix(b"n", stream) + fold + snapshot.version.to_bytes(8, "big")
        )
        self._database.put(key, _pack(snapshot))

    def void(self, batch: WriteBatch, stream: str, after_us: int) -> None:
        """Let those go that were folded by time beyond an instant: an event that happened then has arrived late."""
        prefix = _prefix(b"v", stream)
        batch.delete_range(prefix + _PAIR.pack(after_us + 1 + BIAS, 0), prefix + b"\xff" * 9)

    def drop(self) -> None:
        """Delete all. The answers stay the same."""
        for kind in (b"n", b"v"):
            self._database.delete_range(kind, bytes([kind[0] + 1]))

    def count(self) -> int:
        """How many there are."""
        return sum(1 for kind in (b"n", b"v") for _ in self._database.scan(kind, bytes([kind[0] + 1])))

    def _read(self, key: bytes, value: bytes) -> Snapshot | None:
        digest, rest = value[:_DIGEST], value[_DIGEST:]
        if len(value) < _DIGEST + _HEAD.size or _digest(rest) != digest:
            log.warning("snapshot.broken", key=key.hex(), detail="it is deleted; the fold begins further back")
            self._database.delete(key)
            return None
        return _unpack(rest)


def fold_id(name: str, fingerprint: str) -> bytes:
    """8 bytes for a projection and the code of it."""
    return hashlib.blake2b(f"{name}@{fingerprint}".encode(), digest_size=8).digest()


def _prefix(kind: bytes, stream: str) -> bytes:
    return kind + stream.encode() + b"\x00"


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST).digest()


def _pack(snapshot: Snapshot) -> bytes:
    head = _HEAD.pack(
        snapshot.version, snapshot.highest, snapshot.events, snapshot.resume, snapshot.time_us, snapshot.latest_us
    )
    return _digest(head + snapshot.state) + head + snapshot.state


def _unpack(data: bytes) -> Snapshot:
    version, highest, events, resume, time_us, latest_us = _HEAD.unpack_from(data)
    return Snapshot(time_us, version, highest, events, resume, latest_us, data[_HEAD.size :])
