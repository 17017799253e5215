# SPDX-License-Identifier: Apache-2.0
"""A source that answers with nothing, breaks off, cheats, crawls or floods: whatever it does, nothing is deleted by it."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
import psutil
from aiohttp import web
from rich.console import Console

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.errors import NervError
from nerv.sync import RunUnderWay
from tests.faults.verdict import Invariant

PAGES, ROWS = 5, 40  # of the collection; rows of a page
FLOOD = 50 * 1024 * 1024  # bytes of one page
FAULT_SECONDS = 20.0  # a source that is away is asked again and again for so long
RUN_SECONDS = 120.0
GROWTH = 150 * 1024 * 1024  # bytes that a replica may grow by while it refuses such a page
FAULTS = ("nothing", "empty", "error", "cut", "crawling", "flood", "twice", "gone", "page of HTML")


class Collection:
    """Pages of rows over HTTP. Identifiers have `__` in them, such that joined by `__` two of them would be one."""

    def __init__(self) -> None:
        self.fault: str | None = None
        self.url = ""
        self.rows = [{"site": f"s{n}__r", "rack": "x", "note": 0} for n in range(PAGES * ROWS // 2)]
        self.rows += [{"site": f"s{n}", "rack": "r__x", "note": 0} for n in range(PAGES * ROWS // 2)]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Collection"]:
        """Open the door."""
        app = web.Application()
        app.router.add_get("/racks", self.page)
        runner = web.AppRunner(app, handle_signals=False)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/racks"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def page(self, request: web.Request) -> web.StreamResponse:
        """GET /racks?cursor=N: page N."""
        number = int(request.query.get("cursor", "1"))
        rows = self.rows[(number - 1) * ROWS : number * ROWS]
        document: dict[str, Any] = {"rows": rows, "total": len(self.rows)}
        if number * ROWS < len(self.rows):
            document["next"] = number + 1
        match self.fault:
            case "nothing":
                return web.Response()
            case "empty":
                return web.json_response({"rows": [], "total": 0})
            case "gone":
                return web.Response(status=404)
            case "page of HTML":
                return web.Response(text="<html>Please log in</html>", content_type="text/html")
            case "error" if number == 3:
                return web.Response(status=500)
            case "cut" if number == 3:
                document.pop("next")
            case "twice" if number == 4:
                document["rows"] = [*rows[1:], self.rows[0]]
            case "flood" if number == 2:
                document["filling"] = "x" * FLOOD
            case "crawling" if number == 2:
                return await crawl(request, orjson.dumps(document))
        return web.Response(body=orjson.dumps(document), content_type="application/json")


async def crawl(request: web.Request, body: bytes) -> web.StreamResponse:
    """One byte a second."""
    answer = web.StreamResponse(headers={"content-type": "application/json"})
    await answer.prepare(request)
    with suppress(ConnectionError):  # whoever asked has had enough
        for byte in body:
            await answer.write(bytes([byte]))
            await asyncio.sleep(1.0)
    return answer


async def part(
    mesh: LocalMesh, collection: Collection, client: Client, console: Console, times: int, chance: random.Random
) -> Invariant:
    """So many loads that fail, each kind of them, between loads that do not: only these change anything."""
    complaints: list[str] = []
    await run(client)
    if len(await streams(client)) != len(collection.rows):
        complaints.append(f"{len(collection.rows)} rows became {len(await streams(client))} streams")
    faults = [FAULTS[n % len(FAULTS)] for n in range(max(times, len(FAULTS)))]
    for number, fault in enumerate(faults):
        # A change that waits: the source must be read, and there is something that a failed load could do harm to.
        row = chance.choice(collection.rows)
        row["note"] = number + 1
        before, grown = await streams(client), rss(mesh)
        collection.fault = fault
        try:
            document = await client.syncs.run("racks", confirm_deletes=True, verify=True, seconds=FAULT_SECONDS)
            complaints.append(f"{fault}: the run was {document['status']}")
        except NervError as error:
            console.print(f"  {fault}: {error}", highlight=False, markup=False, soft_wrap=True)
        collection.fault = None
        if await streams(client) != before:
            complaints.append(f"{fault}: something was changed by a load that failed")
        if rss(mesh) - grown > GROWTH:
            complaints.append(f"{fault}: the replica grew by {(rss(mesh) - grown) / 2**20:.0f} MiB")
        # Or by the run that failed, which tried again and found the source mended.
        done, after = await run(client), await streams(client)
        written = [stream for stream, version in after.items() if version != before.get(stream)]
        if (done["status"], len(written)) != ("done", 1):
            complaints.append(f"after {fault}: {done['status']}, {len(written)} objects were written instead of one")
    removed = [event.stream async for event in client.streams.read_category("rack") if event.type == "rack.removed.v1"]
    complaints += [f"{stream} was removed" for stream in removed]
    gone = collection.rows.pop()
    if (await run(client))["summary"]["delete"] != 1:
        complaints.append(f"{gone} is gone from the source, and was not removed: the part could not have seen a delete")
    return Invariant("sync.loads", len(faults) * len(collection.rows), len(faults), complaints)


async def run(client: Client) -> dict[str, Any]:
    """A run, once the one before is over: who gave up waiting for that has not ended it."""
    async with asyncio.timeout(RUN_SECONDS):
        while True:
            try:
                return await client.syncs.run("racks")
            except RunUnderWay:
                await asyncio.sleep(0.5)


async def streams(client: Client) -> dict[str, int]:
    """The version of each stream."""
    return {event.stream: event.sequence or 0 async for event in client.streams.read_category("rack")}


def rss(mesh: LocalMesh) -> int:
    """The memory of the replica that is asked, bytes."""
    pid = mesh.pid("sync-2")
    return 0 if pid is None else int(psutil.Process(pid).memory_info().rss)
