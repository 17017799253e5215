# SPDX-License-Identifier: Apache-2.0
"""How `nerv top` sees a mesh of which not everything answers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from nerv import Client
from nerv.cli.top import seeing
from nerv.cli.top.seeing import Looking, Sight, look
from nerv.errors import Unavailable

NOBODY = "http://127.0.0.1:9"
REPLICA = {
    "service": "broker", "mesh": "m", "app": "shop", "instance": "b-1", "uptime_seconds": 1.0, "owns": [], "traffic": [],
    "health": {"status": "ok", "phase": "running", "faults": {}}, "process": {"cpu": 0.0, "rss": 1, "pid": 1}, "lags": [],
    "figures": {},
}  # fmt: skip


@asynccontextmanager
async def serving(*, redis: bool = True) -> AsyncIterator[str]:
    """The URL of a service whose projections never answer, and whose runs nobody may see."""

    async def mesh(request: web.Request) -> web.Response:
        if not redis:
            return web.json_response({"title": "Unavailable", "detail": "Redis is away"}, status=503)
        return web.json_response({"mesh": "m", "replicas": [REPLICA]})

    async def about(request: web.Request) -> web.Response:
        return web.json_response(REPLICA)

    async def never(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def refused(request: web.Request) -> web.Response:
        return web.json_response({"title": "Forbidden", "detail": "workflows:read lacks"}, status=403)

    server = web.Application()
    for path, handler in {
        "/v1/mesh": mesh, "/.well-known/nerv": about, "/v1/projections": never, "/v1/runs": refused
    }.items():  # fmt: skip
        server.router.add_get(path, handler)
    runner = web.AppRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def until(looking: Looking, holds: Callable[[Sight], bool]) -> Sight:
    """The first sight of which this is so."""
    async with asyncio.timeout(30):
        while not holds(looking.sight()):
            looking.changed.clear()
            await asyncio.wait([asyncio.ensure_future(looking.changed.wait())], timeout=0.05)
    return looking.sight()


async def test_what_does_not_answer_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas are seen again and again, what is refused says why, and what never answers is named once it is late."""
    monkeypatch.setattr(seeing, "LATE_SECONDS", 0.1)
    async with (
        serving() as url,
        Client({"broker": url, "projector": url, "scheduler": url}) as client,
        Looking(client, interval=0.01) as looking,
    ):
        sight = await until(looking, lambda sight: len(sight.faults) == 2)
        assert [row["status"] for row in sight.replicas if row["service"] == "broker"] == ["up"]
        assert sight.faults[0].startswith("projections: no answer for ")
        assert sight.faults[1] == "runs: workflows:read lacks"


async def test_without_redis_each_service_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What answers is shown, what does not is away, and why not all are known is said."""
    monkeypatch.setattr(seeing, "FIRST_SECONDS", 0.5)
    async with serving(redis=False) as url, Client({"broker": url, "temporal": NOBODY}) as client:
        sight = await look(client)
    assert {row["service"]: row["status"].partition(" ")[0] for row in sight.replicas} == {
        "broker": "up",
        "temporal": "temporal",
    }
    assert sight.answers
    assert any(fault.startswith("replicas: ") for fault in sight.faults)


async def test_an_answer_that_nobody_understands_is_a_fault() -> None:
    """A page of a proxy, say, or a mesh of another version: it is looked at again."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<html>", content_type="text/html")

    server = web.Application()
    server.router.add_route("*", "/{path:.*}", page)
    runner = web.AppRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with Client({"*": url}) as client, Looking(client, interval=0.01) as looking:
        sight = await until(looking, lambda sight: len(sight.faults) == 3)
        assert all("not one of this version" in fault for fault in sight.faults)
    await runner.cleanup()


async def test_any_service_can_say_who_is_alive() -> None:
    """One that is away is passed over; where none answers, that is said."""
    async with serving() as url, Client({"temporal": NOBODY, "broker": url}) as client:
        assert [one["instance"] for one in await client.mesh()] == ["b-1"]
    async with Client({"temporal": NOBODY}) as client:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await client.mesh()
