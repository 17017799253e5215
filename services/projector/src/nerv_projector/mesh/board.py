# SPDX-License-Identifier: Apache-2.0
"""Where the owner of each partition says that it is alive and what comes there, on Redis. For people: no decision hangs on it.

| key | holds |
| --- | --- |
| `<mesh>:mesh:partitions` | hash: number of a partition -> JSON of a `Row`; it expires when nobody writes it any more |
| `<mesh>:mesh:moves` | list, bounded: JSON of the latest changes of owners, the newest first |
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from nerv.redis import mapped
from nerv.redis.connection import Redis

ALIVE_SECONDS = 5.0  # an owner that has said nothing for so long is not shown
EXPIRE_SECONDS = 3600  # after which it is forgotten who owned what
MOVES = 100  # that are kept


@dataclass(frozen=True, slots=True)
class Row:
    """What the owner of a partition says of it. `types`: events in each of the last seconds, from `first` on."""

    owner: str
    since: float  # when it took the partition over; seconds since 1970, by the clock of Redis, as `at`
    at: float = 0.0
    first: int = 0
    types: Mapping[str, Sequence[int]] = field(default_factory=dict)
    keys: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Move:
    """A partition that went from one owner to another."""

    at: float
    partition: int
    before: str
    after: str


class Board:
    """All raise Unavailable while Redis is away."""

    def __init__(self, redis: Redis, mesh: str) -> None:
        self._redis = redis
        self._partitions, self._moves = f"{mesh}:mesh:partitions", f"{mesh}:mesh:moves"

    async def now(self) -> float:
        """The time of Redis, which is the same for all."""
        with mapped("TIME"):
            seconds, micros = await self._redis.time()
        return float(seconds) + micros / 1e6

    async def took(self, owner: str, partitions: Sequence[int]) -> Sequence[Move]:
        """Partitions are `owner`'s now; answers those of which somebody else was the owner before."""
        now = await self.now()
        known = await self._rows()
        fresh = {p: Row(owner, now, now) for p in partitions if p not in known or known[p].owner != owner}
        moves = [Move(now, p, known[p].owner, owner) for p in fresh if p in known]
        await self._write(fresh, moves)
        return moves

    async def say(self, rows: Mapping[int, Row]) -> None:
        """What is so of these partitions."""
        await self._write(rows, ())

    async def _write(self, rows: Mapping[int, Row], moves: Sequence[Move]) -> None:
        if not rows:
            return
        with mapped("HSET"):
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hset(self._partitions, mapping={str(p): orjson.dumps(asdict(row)) for p, row in rows.items()})
                pipe.expire(self._partitions, EXPIRE_SECONDS)
                if moves:
                    pipe.lpush(self._moves, *(orjson.dumps(asdict(move)) for move in moves))
                    pipe.ltrim(self._moves, 0, MOVES - 1)
                    pipe.expire(self._moves, EXPIRE_SECONDS)
                await pipe.execute()

    async def alive(self) -> dict[int, Row]:
        """Of each partition whose owner has said something lately."""
        now = await self.now()
        return {p: row for p, row in (await self._rows()).items() if row.at > now - ALIVE_SECONDS}

    async def moves(self) -> list[Move]:
        """The latest changes of owners, the newest first."""
        with mapped("LRANGE"):
            return [Move(**orjson.loads(found)) for found in await self._redis.lrange(self._moves, 0, -1)]

    async def _rows(self) -> dict[int, Row]:
        with mapped("HGETALL"):
            found: Any = await self._redis.hgetall(self._partitions)
        return {int(p): Row(**orjson.loads(row)) for p, row in found.items()}
