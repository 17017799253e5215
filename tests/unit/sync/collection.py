# SPDX-License-Identifier: Apache-2.0
"""A system of HTTP to sync with: a collection in pages, objects with ETags, and whatever can go wrong with them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web

from nerv.sync.tree import digest

Harm = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
"""Answers in place of the collection, or None where it is to answer itself."""


class Collection:
    """Rows by key at /things, and each at /things/{key}; PUT and DELETE on condition."""

    def __init__(self, rows: Mapping[str, Any], page: int = 1000) -> None:
        self.rows = dict(rows)
        self.page = page
        self.asked: list[str] = []
        self.log: list[str] = []  # keys in the order of their changes
        self.cut = 0  # of the log: what is before is not told any more
        self.told_at_once = 1000
        self.harm: Harm | None = None

    async def list(self, request: web.Request) -> web.StreamResponse:
        """A page of them, in order of their keys."""
        keys = sorted(self.rows)
        start = int(request.query.get("cursor", "0"))
        following = start + self.page if start + self.page < len(keys) else None
        found = [self.rows[key] for key in keys[start : start + self.page]]
        body = orjson.dumps({"rows": found, "next": following, "total": len(keys)})
        etag = f'"{digest(body).hex()}"'
        if request.headers.get("if-none-match") == etag:
            return web.Response(status=304)
        return web.Response(body=body, content_type="application/json", headers={"etag": etag})

    async def changes(self, request: web.Request) -> web.StreamResponse:
        """What changed since a cursor."""
        said = request.query["since"]
        since = len(self.log) if said == "now" else int(said)
        if since < self.cut:
            return web.Response(status=410)
        end = min(len(self.log), since + self.told_at_once)
        document = {"changes": self.log[since:end], "position": end, "more": end < len(self.log)}
        return web.json_response(document)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """One of them."""
        found = self.rows.get(request.match_info["key"])
        return web.Response(status=404) if found is None else self._one(found)

    async def put(self, request: web.Request) -> web.StreamResponse:
        """Create or replace one, if the condition holds."""
        if not self._holds(request):
            return web.Response(status=412)
        row = orjson.loads(await request.read())
        self.set(request.match_info["key"], row)
        return self._one(row)

    def set(self, key: str, row: Any) -> None:
        """Create or replace one."""
        self.rows[key] = row
        self.log.append(key)

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Remove one, if the condition holds."""
        if not self._holds(request):
            return web.Response(status=412)
        del self.rows[request.match_info["key"]]
        self.log.append(request.match_info["key"])
        return web.Response(status=204)

    def _holds(self, request: web.Request) -> bool:
        there = self.rows.get(request.match_info["key"])
        if request.headers.get("if-none-match") == "*":
            return there is None
        return there is not None and request.headers.get("if-match") == _etag(there)

    def _one(self, row: Any) -> web.Response:
        return web.Response(body=orjson.dumps(row), content_type="application/json", headers={"etag": _etag(row)})

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """The address of the collection, while it is served."""

        @web.middleware
        async def harmed(request: web.Request, handler: Any) -> web.StreamResponse:
            self.asked.append(f"{request.method} {request.path_qs}")
            found = None if self.harm is None else await self.harm(request)
            answer: web.StreamResponse = await handler(request) if found is None else found
            return answer

        app = web.Application(middlewares=[harmed])
        app.router.add_get("/things", self.list)
        app.router.add_get("/changes", self.changes)
        app.router.add_get("/things/{key}", self.get)
        app.router.add_put("/things/{key}", self.put)
        app.router.add_delete("/things/{key}", self.delete)
        runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/things"
        finally:
            await runner.cleanup()


def _etag(row: Any) -> str:
    return f'"{digest(orjson.dumps(row, option=orjson.OPT_SORT_KEYS)).hex()}"'
