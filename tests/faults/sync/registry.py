# SPDX-License-Identifier: Apache-2.0
"""An outside system: rows under keys that people edit, over HTTP; it outlives every replica of sync."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from nerv.clock import HybridClock, SystemClock
from nerv.errors import Unavailable, UnknownOutcome, VersionConflict
from nerv.protocols.side import Action, Changes, Entity, Position, Step, WriteOutcome, Written
from nerv.protocols.source import Complete
from nerv.sync import LoadRefused
from nerv.sync.sides import MappingSide
from nerv.types import Description, Stamp, utc_now

ASK_SECONDS = 10.0

Hook = Callable[[str], Awaitable[None]]
"""Is called `before` and `after` each batch that is written."""


class ClockAhead(SystemClock):
    """A clock that is wrong by so many seconds."""

    seconds = 0.0

    def now(self) -> datetime:
        """What it takes for now."""
        return super().now() + timedelta(seconds=self.seconds)


async def nothing(moment: str) -> None:
    """A hook that does nothing."""


class Registry:
    """The rows, and the door to them. A parent has to be there before its children; where they are in the registry `below`, it
    cannot be removed before them, and its own children look for it in the one `above`.

    `careless` writes whatever the versions are: a seeded bug, which the checker must find.
    """

    def __init__(self, name: str) -> None:
        self.clock = ClockAhead()
        self.side = MappingSide(name, clock=HybridClock(name, self.clock))
        self.hook: Hook = nothing
        self.careless = False
        self.above = self
        self.below: Registry | None = None
        self.orphans: list[str] = []
        self.url = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Registry"]:
        """Open the door."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        for path in ("load", "fetch", "changes", "write"):
            app.router.add_post(f"/{path}", getattr(self, path))
        runner = web.AppRunner(app, handle_signals=False)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def rows(self) -> dict[str, Any]:
        """What it holds."""
        found: dict[str, Any] = {}
        async for batch in self.side.load():
            if not isinstance(batch, Complete):
                found |= {one.key: one.row for one in batch}
        return found

    async def load(self, request: web.Request) -> web.Response:
        """POST /load: every row."""
        found: list[Entity] = []
        async for batch in self.side.load():
            if not isinstance(batch, Complete):
                found += batch
        return web.Response(body=orjson.dumps([packed(one) for one in found]))

    async def fetch(self, request: web.Request) -> web.Response:
        """POST /fetch: the rows of these keys."""
        found = await self.side.fetch(orjson.loads(await request.read()))
        return web.Response(body=orjson.dumps([packed(one) for one in found]))

    async def changes(self, request: web.Request) -> web.Response:
        """POST /changes: the keys that changed after a position."""
        after = orjson.loads(await request.read())
        told = await self.side.changes(None if after is None else Position(*after))
        body = None if told is None else [list(told.keys), told.position.epoch, told.position.sequence]
        return web.Response(body=orjson.dumps(body))

    async def write(self, request: web.Request) -> web.Response:
        """POST /write: each step on its condition."""
        steps = [unpacked(one) for one in orjson.loads(await request.read())]
        await self.hook("before")
        if self.careless:
            seen = {one.key: one.version for one in await self.side.fetch([step.key for step in steps])}
            steps = [replace(step, version=seen[step.key]) for step in steps]
        self.orphans += [step.key for step in steps if self._is_orphan(step)]
        if self.below is not None:
            needed = {row["above"] for row in (await self.below.rows()).values()}
            self.orphans += [step.key for step in steps if step.action is Action.DELETE and step.key in needed]
        outcomes = await self.side.write(steps)
        await self.hook("after")
        body = [["written", one.version] if isinstance(one, Written) else ["moved", one.detail] for one in outcomes]
        return web.Response(body=orjson.dumps(body))

    def _is_orphan(self, step: Step) -> bool:
        row = None if step.after is None else orjson.loads(step.after)
        return bool(row and row["above"] and row["above"] not in self.above.side)


def packed(one: Entity) -> list[Any]:
    """An object as JSON."""
    return [one.key, one.row, one.version, None if one.stamp is None else str(one.stamp)]


def entity(found: list[Any]) -> Entity:
    """What `packed` was given."""
    key, row, version, stamp = found
    return Entity(key, row, version, None if stamp is None else Stamp.parse(stamp))


def unpacked(found: list[Any]) -> Step:
    """A step as it was sent."""
    action, key, after, version, stamp = found
    return Step(
        "", Action(action), key, None, None if after is None else after.encode(), version, stamp and Stamp.parse(stamp)
    )


class RegistrySide:
    """A registry as a side of a sync, as an app's developer writes it."""

    writable = True

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self._url = url

    async def __aenter__(self) -> "RegistrySide":
        timeout = aiohttp.ClientTimeout(total=ASK_SECONDS)
        self._http = await aiohttp.ClientSession(self._url, timeout=timeout).__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._http.close()

    async def load(self) -> AsyncIterator[Sequence[Entity] | Complete]:
        """Every row (see `Side.load`)."""
        rows = await self._ask("load", None)
        yield [entity(row) for row in rows]
        yield Complete(len(rows), utc_now())

    async def fetch(self, keys: Sequence[str]) -> list[Entity]:
        """The rows of these keys (see `Side.fetch`)."""
        return [entity(row) for row in await self._ask("fetch", list(keys))]

    async def changes(self, after: Position | None) -> Changes | None:
        """What changed since (see `Side.changes`)."""
        told = await self._ask("changes", None if after is None else [after.epoch, after.sequence])
        return None if told is None else Changes(told[0], Position(told[1], told[2]))

    async def write(self, steps: Sequence[Step]) -> list[WriteOutcome]:
        """Write each on its condition (see `Side.write`)."""
        sent = [[s.action, s.key, s.after and s.after.decode(), s.version, s.stamp and str(s.stamp)] for s in steps]
        try:
            answers = await self._ask("write", sent)
        except Unavailable as error:
            return [UnknownOutcome(error.detail)] * len(steps)
        return [Written(found) if verdict == "written" else VersionConflict(found) for verdict, found in answers]

    def describe(self) -> Description:
        """The side as data."""
        return Description("RegistrySide", self.name, (self._url,), (self._url,))

    async def _ask(self, path: str, body: Any) -> Any:
        try:
            async with self._http.post(f"/{path}", data=orjson.dumps(body)) as answer:
                if answer.status != 200:
                    raise LoadRefused(f"{self.name} answers {answer.status}")
                return orjson.loads(await answer.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"{self.name}: {str(error) or type(error).__name__}") from error
