# SPDX-License-Identifier: Apache-2.0
"""Records in Redis: one hash, shared by all replicas. It may be lost at any time; what is kept there is made again."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from nerv.errors import Unavailable, UnknownOutcome, VersionConflict
from nerv.redis import Scripts, mapped
from nerv.redis.connection import Redis
from nerv.types import Description

TRIES = 3  # of a write whose answer was lost: the head in it makes a repeat harmless
SCANNED = 1000  # records that a drop looks at in one go, so that Redis serves others in between
_HEAD = b"h"
_RECORD = b"r"  # before every name, so that none is the head
_GLOB = re.compile(rb"([\\*?\[\]^-])")


class RedisRecords:
    """`nerv.protocols.records.Records` in the hash `key`. A write is a script: done whole, or not at all."""

    def __init__(self, client: Redis, key: str) -> None:
        self._client = client
        self._key = key
        self._scripts = Scripts(client, "nerv.sync.records")
        self._writes = 0

    async def head(self) -> bytes | None:
        """The head (see `Records.head`)."""
        [head] = await self._fields([_HEAD])
        return head

    async def read(self, names: Sequence[bytes]) -> list[bytes | None]:
        """The records of these names (see `Records.read`)."""
        return await self._fields([_RECORD + name for name in names]) if names else []

    async def write(self, changes: Mapping[bytes, bytes | None], *, head: bytes, after: bytes | None) -> None:
        """Change all of it (see `Records.write`)."""
        puts = [part for name, data in changes.items() if data is not None for part in (_RECORD + name, data)]
        gone = [_RECORD + name for name, data in changes.items() if data is None]
        await self._conditional("write", [*_seen(after), head, len(puts) // 2, *puts, *gone])
        self._writes += 1

    async def drop(self, prefix: bytes, *, after: bytes | None) -> None:
        """Remove what begins so, some at a time (see `Records.drop`)."""
        await self._conditional("remove", _seen(after))
        pattern, cursor = _GLOB.sub(rb"\\\1", _RECORD + prefix) + b"*", 0
        while True:
            try:
                with mapped("hscan"):
                    cursor, found = await self._client.hscan(self._key, cursor, match=pattern, count=SCANNED)
            except UnknownOutcome as error:
                raise Unavailable(error.detail, retry_after=1.0) from error
            if found:
                await self._conditional("remove", [*_seen(after), *found])
            if cursor == 0:
                return

    def describe(self) -> Description:
        """The records as data."""
        return Description(
            "RedisRecords", self._key, counters={"writes": self._writes}, parts=(self._scripts.describe(),)
        )

    async def _conditional(self, script: str, args: Sequence[str | bytes | int | float]) -> None:
        for left in reversed(range(TRIES)):
            try:
                done = await self._scripts(script, [self._key], args)
            except UnknownOutcome as error:
                if not left:
                    raise Unavailable(error.detail, retry_after=1.0) from error
                continue
            if not done:
                raise VersionConflict("the records were changed by another writer; read the head again")
            return

    async def _fields(self, names: Sequence[bytes]) -> list[bytes | None]:
        try:
            with mapped("hmget"):
                found: list[Any] = await self._client.hmget(self._key, names)
        except UnknownOutcome as error:
            raise Unavailable(error.detail, retry_after=1.0) from error
        return found


def _seen(after: bytes | None) -> list[str | bytes | int | float]:
    return ["0", b""] if after is None else ["1", after]
