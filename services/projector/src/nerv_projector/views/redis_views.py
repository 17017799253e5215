# SPDX-License-Identifier: Apache-2.0
"""The views of one version of a projection on Redis, all in one slot of a cluster (`<mesh>:{<projection>}:v<version>:...`).

| key | holds |
| --- | --- |
| `epoch` | the token of the present epoch |
| `<token>:about` | JSON: Kafka's id of each topic, where history is begun and what it held then, the code's fingerprint |
| `<token>:cursors` | hash: partition -> nerv.api.projection.v1.Cursor |
| `<token>:counts` | hash: `folded`; `parked:<partition>` keys; `size:<partition>`, bytes of the views |
| `<token>:keys` | sorted set of all keys, all with score 0, for pages |
| `<token>:index` | sorted set of what views are found by, all with score 0 (`nerv.projections.indexes`) |
| `<token>:parked` | sorted set of the keys that are parked, all with score 0 |
| `<token>:view:<key>` | four lines: version; why it is parked, or nothing; its entries in the index, or nothing; state (JSON) |
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import orjson
from opentelemetry import trace

from nerv.projections.indexes import parts
from nerv.protocols.views import Cursor, Epoch, Move, Progress, Span, Verdict, View
from nerv.redis import Scripts, mapped
from nerv.redis.connection import Redis
from nerv.telemetry import names as n
from nerv.telemetry import span
from nerv_projector.views.gathering import Gathered

DROP = 1000  # views deleted at a time, so that Redis answers others in between
# Of an epoch, beside the views; the script takes all but the first.
PARTS = ("about", "cursors", "keys", "counts", "index", "parked")


class RedisViews:
    """`nerv.protocols.views.Views` on Redis 7.0+ or Valkey."""

    def __init__(self, redis: Redis, mesh: str, projection: str, version: int = 1) -> None:
        self._redis = redis
        self._scripts = Scripts(redis, "nerv_projector.views")
        self._prefix = f"{mesh}:{{{projection}}}:v{version}:"
        self._gathered = Gathered(self._fetch)

    async def epoch(self) -> Epoch | None:
        """The present epoch."""
        token = await self._present()
        return None if token is None else await self._epoch(token)

    async def _epoch(self, token: str) -> Epoch:
        return Epoch.from_json(token, await self._command("GET", self._key(token, "about")))

    async def begin(self, new: Epoch, cursors: Mapping[int, Cursor], *, instead_of: Epoch | None) -> Epoch:
        """Begin an epoch (see `Views.begin`)."""
        keys = [f"{self._prefix}epoch", self._key(new.token, "about"), self._key(new.token, "cursors")]
        args: list[str | bytes] = [new.token, instead_of.token if instead_of else "", new.to_json()]
        for partition, cursor in cursors.items():
            args += [str(partition), cursor.to_bytes()]
        present = (await self._scripts("begin", keys, args)).decode()
        return new if present == new.token else await self._epoch(present)

    async def progress(self, epoch: Epoch) -> Progress:
        """Where an epoch stands."""
        token = epoch.token
        with mapped("progress"):
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hgetall(self._key(token, "cursors"))
                pipe.hgetall(self._key(token, "counts"))
                pipe.zcard(self._key(token, "keys"))
                cursors, counts, entities = await pipe.execute()
        found = {int(p): bytes(c) for p, c in cursors.items()}
        parked_in, size_in = (_by_partition(counts, what) for what in (b"parked", b"size"))
        return Progress(found, int(counts.get(b"folded", 0)), int(entities), parked_in, size_in)

    async def load(self, epoch: Epoch, keys: Sequence[str]) -> dict[str, View]:
        """The views of these keys, by one MGET; of a single key, by one together with those that others ask for meanwhile."""
        if not keys:
            return {}
        if len(keys) == 1:
            data = await self._gathered(self._view(epoch, keys[0]))
            return {} if data is None else {keys[0]: _decode(data)}
        found = await self._fetch([self._view(epoch, key) for key in keys])
        return {key: _decode(data) for key, data in zip(keys, found, strict=True) if data is not None}

    async def _fetch(self, names: Sequence[str]) -> Sequence[bytes | None]:
        with _span("MGET"):
            found: Sequence[bytes | None] = await self._command("MGET", *names)
        return found

    async def apply(self, epoch: Epoch, moves: Mapping[int, Move], views: Mapping[str, View]) -> Verdict:
        """Write views and cursors in one script (see `Views.apply`)."""
        by: dict[int, list[tuple[str, View]]] = {partition: [] for partition in moves}
        for key, view in views.items():
            by[view.partition].append((key, view))
        written = [one for some in by.values() for one in some]
        keys = [f"{self._prefix}epoch", *(self._key(epoch.token, part) for part in PARTS[1:])]
        keys += [self._view(epoch, key) for key, _ in written]
        args: list[str | bytes | int | float] = [epoch.token, 1 if epoch.indexes else 0, len(moves)]
        for partition, move in moves.items():
            args += [partition, move.seen, move.cursor.to_bytes(), move.folded, len(by[partition])]
        mended = frozenset[str]().union(*(move.mended for move in moves.values()))
        parks = [(key, view) for key, view in written if view.parked is not None or key in mended]
        args.append(len(parks))
        for key, view in parks:
            args += [key, view.partition, 0 if view.parked is None else 1]
        args.append(len(self._view(epoch, "").encode()) + 1)
        args += [_encode(view) for _, view in written]
        with _span("EVALSHA"):
            return Verdict((await self._scripts("apply", keys, args)).decode())

    async def page(
        self, epoch: Epoch, after: str | None, limit: int, span: Span | None = None, *,
        backward: bool = False, parked: bool = False,
    ) -> list[tuple[str, View]]:  # fmt: skip
        """Views in order of their keys, or of the index."""
        if span is None:
            part = "parked" if parked else "keys"
            keys = await self._members(epoch, part, b"-" if after is None else b"(" + after.encode(), b"+", limit)
            views = await self.load(epoch, keys)
            return [(key, views[key]) for key in keys if key in views]
        found = await self._members(epoch, "index", b"[" + span.low, b"(" + span.high, limit, backward=backward)
        keys = [parts(member)[1] for member in found]
        views = await self.load(epoch, list(dict.fromkeys(keys)))
        return [(member, views[key]) for member, key in zip(found, keys, strict=True) if key in views]

    async def _members(
        self, epoch: Epoch, part: str, low: bytes, high: bytes, limit: int, *, backward: bool = False
    ) -> list[str]:
        ends: tuple[bytes, ...] = (high, low, b"BYLEX", b"REV") if backward else (low, high, b"BYLEX")
        with _span("ZRANGE"):
            found = await self._command("ZRANGE", self._key(epoch.token, part), *ends, b"LIMIT", 0, limit)
        return [member.decode() for member in found]

    async def drop(self, epoch: Epoch) -> None:
        """Delete an epoch that is over, a part at a time."""
        while await self._present() != epoch.token:
            if not await self._drop_some(epoch.token):
                return

    async def discard(self) -> None:
        """Delete everything; the token last, by which the rest is found, so that it may be repeated."""
        while (token := await self._present()) is not None:
            while await self._drop_some(token):
                pass
            await self._command("UNLINK", f"{self._prefix}epoch")

    async def _drop_some(self, token: str) -> bool:
        """Delete a part of an epoch; whether more is left."""
        index = self._key(token, "keys")
        names = await self._command("ZRANGE", index, 0, DROP - 1)
        if names:
            await self._command("UNLINK", *(self._key(token, f"view:{name.decode()}") for name in names))
            await self._command("ZREM", index, *names)
            return True
        await self._command("UNLINK", *(self._key(token, part) for part in PARTS))
        return False

    async def _present(self) -> str | None:
        token = await self._command("GET", f"{self._prefix}epoch")
        return None if token is None else str(token, "utf-8")

    async def _command(self, *words: str | bytes | int) -> Any:
        # The typed methods of redis-py promise text or bytes; ours are always bytes.
        with mapped(str(words[0])):
            return await self._redis.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py types it not

    def _key(self, token: str, part: str) -> str:
        return f"{self._prefix}{token}:{part}"

    def _view(self, epoch: Epoch, key: str) -> str:
        return f"{self._prefix}{epoch.token}:view:{key}"


def _span(operation: str) -> AbstractContextManager[trace.Span]:
    return span(n.redis(operation), trace.SpanKind.CLIENT, attributes={n.DB_SYSTEM: n.REDIS, n.DB_OPERATION: operation})


def _by_partition(counts: Mapping[bytes, bytes], what: bytes) -> dict[int, int]:
    named = ((name.partition(b":"), count) for name, count in counts.items())
    return {int(partition): int(count) for (kind, _, partition), count in named if kind == what}


def _encode(view: View) -> bytes:
    # JSON as we write it has no newline, so that a view is split without parsing its state.
    parked = b"" if view.parked is None else orjson.dumps(dict(view.parked))
    index = orjson.dumps(view.index) if view.index else b""
    return b"%d\n%b\n%b\n%b" % (view.version, parked, index, view.state)


def _decode(data: bytes) -> View:
    version, parked, index, state = data.split(b"\n", 3)
    return View(
        int(version), state, orjson.loads(parked) if parked else None, tuple(orjson.loads(index)) if index else ()
    )
