# SPDX-License-Identifier: Apache-2.0
"""A subscription over what a service that starts, restarts or is gone answers, against a server that answers as it is told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import nerv.client.sse
from nerv.client.sse import subscription
from nerv.client.transport import Transport
from nerv.errors import NotFound, Overloaded, Unavailable

Scripted = list[tuple[int, bytes]]
"""Status and body of each answer to come; the last one is given again and again."""


class Server:
    """Answers in turn, and remembers after which event it was asked to go on."""

    def __init__(self) -> None:
        self.answers: Scripted = []
        self.after: list[str | None] = []

    async def stream(self, request: web.Request) -> web.Response:
        """GET /stream"""
        self.after.append(request.headers.get("last-event-id"))
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.Response(status=status, body=body, headers={"retry-after": "0"})


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, Transport]]:
    """The server, and a transport to it."""
    made = Server()
    app = web.Application()
    app.add_routes([web.get("/stream", made.stream)])
    async with TestServer(app) as running:
        transport = Transport({"broker": str(running.make_url("/"))})
        await transport.open()
        yield made, transport
        await transport.close()


async def read(transport: Transport) -> list[str]:
    """The data of all that comes until the service says that this was all."""
    async with aclosing(subscription(transport, "broker", "/stream", {})) as events:
        return [fields["data"] async for fields in events]


async def test_a_service_that_starts_is_waited_for(server: tuple[Server, Transport]) -> None:
    """As by any request: it says that it is not ready, and then it is."""
    made, transport = server
    made.answers = [(503, b""), (429, b""), (200, b"id: 1\ndata: one\n\nevent: end\ndata: {}\n\n")]
    assert await read(transport) == ["one"]
    assert made.after == [None, None, None]


async def test_what_does_not_start_is_told(server: tuple[Server, Transport], monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the time is up that a request has."""
    made, transport = server
    made.answers = [(503, b"")]
    monkeypatch.setattr(nerv.client.sse, "DEADLINE_SECONDS", 0.2)
    with pytest.raises(Unavailable):
        await read(transport)
    assert len(made.after) > 1


async def test_a_restart_behind_a_proxy_is_gone_through(server: tuple[Server, Transport]) -> None:
    """Which answers for a service that is away as proxies do: it goes on after the last event, without gap or double."""
    made, transport = server
    away = [(502, b"<html>Bad Gateway</html>"), (504, b""), (500, b""), (503, b"")]
    made.answers = [(200, b"id: 1\ndata: one\n\n"), *away, (200, b"id: 2\ndata: two\n\nevent: end\ndata: {}\n\n")]
    assert await read(transport) == ["one", "two"]
    assert made.after == [None, "1", "1", "1", "1", "1"]


async def test_who_is_sent_away_in_a_stream_comes_back_when_it_may(
    server: tuple[Server, Transport], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After what the error says, though it is in the body of a good answer, which began as every other."""
    made, transport = server
    full = orjson.dumps(Overloaded("full", retry_after=7.0).problem())
    away = b"id: 1\n\nevent: error\ndata: " + full + b"\n\n"
    made.answers = [(200, away), (200, away), (200, b"event: end\ndata: {}\n\n")]
    waits: list[float] = []

    async def sleep(seconds: float, asleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        waits.append(seconds)
        await asleep(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert await read(transport) == []
    assert waits == [7.0, 7.0]


async def test_what_will_not_change_is_raised(server: tuple[Server, Transport]) -> None:
    """At once, also where it was read before: a topic that somebody deleted meanwhile."""
    made, transport = server
    made.answers = [(200, b"id: 1\ndata: one\n\n"), (404, b"")]
    with pytest.raises(NotFound):
        await read(transport)
    assert len(made.after) == 2
