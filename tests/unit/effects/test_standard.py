# SPDX-License-Identifier: Apache-2.0
"""The handlers of the mesh's own kinds, in this process and over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

import nerv
from nerv.bus import EventBus
from nerv.effects import Handlers, ReadView, append, ask, http, log, parallel_all, publish, read_view, task, timer
from nerv.effects.kinds import Http
from nerv.effects.standard import http_handler, local_handlers
from nerv.errors import Forbidden, Invalid, Misconfigured, NotFound, TooLarge, Unavailable, UnknownOutcome
from nerv.history.memory import MemoryHistory
from nerv.protocols import Appended
from nerv.types import Event

app = nerv.App("shop")


@app.event("shop.sold.v1")
class Sold(nerv.Event):
    """Something was sold."""

    item: str


@app.task()
async def double(number: int) -> int:
    """An asynchronous task."""
    return number * 2


@app.task()
def triple(number: int) -> int:
    """A plain one, which runs in a thread."""
    return number * 3


async def test_appends_reach_history_as_one_call_and_answer_with_versions() -> None:
    """Each with an id of its own."""
    history = MemoryHistory()
    handlers = local_handlers(app, history=history, bus=EventBus())
    steps = [append("order-1", Sold(item=str(n))) for n in range(3)]
    answers = await parallel_all(steps).run(handlers)
    assert [a.last_version for a in answers if isinstance(a, Appended)] == [1, 2, 3]
    found = [event async for event in history.read("order-1")]
    assert [app.decode(event) for event in found] == [Sold(item="0"), Sold(item="1"), Sold(item="2")]


async def test_publish_task_timer_log_and_view() -> None:
    """Each kind reaches what performs it."""
    heard: list[Event[Any]] = []
    bus = EventBus()
    bus.subscribe("shop.*", heard.append, weak=False)

    async def views(effect: ReadView) -> str:
        return f"view of {effect.target}"

    handlers = local_handlers(app, history=MemoryHistory(), bus=bus, views=views)
    await ask(publish(Sold(item="x"), key="k")).run(handlers)
    assert [(e.type, e.data, e.partition_key) for e in heard] == [("shop.sold.v1", Sold(item="x"), "k")]
    steps: list[Any] = [task("double", number=4), task("triple", number=4), read_view("orders", "1"), log("sold", n=1)]
    assert await parallel_all(steps).run(handlers) == [8, 12, "view of orders/1", None]
    rang = await ask(timer(0.0)).run(handlers)
    assert rang.tzinfo is not None


async def test_what_does_not_exist_is_named() -> None:
    """A task that the app lacks; and nothing reaches out of the process by itself."""
    handlers = local_handlers(app, history=MemoryHistory(), bus=EventBus())
    with pytest.raises(NotFound, match="double, triple"):
        await ask(task("quadruple", number=1)).run(handlers)
    with pytest.raises(Misconfigured, match="Http"):
        await ask(http("get", "http://127.0.0.1/")).run(handlers)


@pytest.mark.parametrize("make", [lambda: timer(-1.0), lambda: timer(float("nan")), lambda: log("x", level="loud")])
def test_nonsense_is_refused_when_it_is_made(make: Any) -> None:
    """Not when it is performed."""
    with pytest.raises(Invalid):
        make()


@pytest.fixture
async def door() -> AsyncIterator[str]:
    """A server that answers in several ways."""

    async def answer(request: web.Request) -> web.StreamResponse:
        match request.path:
            case "/echo":
                return web.json_response({"got": await request.json(), "key": request.headers["Idempotency-Key"]})
            case "/big":
                return web.Response(body=b"x" * (1024 * 1024 + 1))
            case "/away":
                raise web.HTTPFound("/echo")
            case "/broken":
                assert request.transport is not None
                request.transport.close()
                return web.Response()
            case status:
                return web.Response(status=int(status[1:]))

    runner = web.AppRunner(web.Application())
    runner.app.router.add_route("*", "/{path:.*}", answer)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    [(host, port, *_)] = runner.addresses
    yield f"http://{host}:{port}"
    await runner.cleanup()


async def test_http_calls_what_is_allowed(door: str) -> None:
    """With its body as JSON and an id by which the other side can drop a repetition."""
    async with aiohttp.ClientSession() as session:
        handlers = Handlers().on(Http, http_handler(session, [door]))
        answer = await ask(http("post", f"{door}/echo", {"n": 1})).run(handlers)
        assert answer["got"] == {"n": 1}
        assert answer["key"]


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/404", NotFound),
        ("/503", Unavailable),
        ("/429", Unavailable),
        ("/500", UnknownOutcome),
        ("/broken", UnknownOutcome),
        ("/400", Forbidden),
        ("/away", Forbidden),
        ("/big", TooLarge),
    ],
)
async def test_http_says_what_became_of_a_call(door: str, path: str, error: type[Exception]) -> None:
    """Refused, not done, or unknown; a redirect is not followed, a large answer not read to its end."""
    async with aiohttp.ClientSession() as session:
        handlers = Handlers().on(Http, http_handler(session, [door]))
        with pytest.raises(error):
            await ask(http("post", f"{door}{path}", {})).run(handlers)


async def test_http_reaches_nothing_else(door: str) -> None:
    """Another host, port or scheme is refused before anything is sent, however it is written."""
    async with aiohttp.ClientSession() as session:
        call = http_handler(session, ["https://api.example.org", "http://127.0.0.1:1"])
        for url in (
            f"{door}/echo",
            "http://api.example.org/",
            "https://api.example.org@127.0.0.1/",
            "file:///etc/passwd",
        ):
            with pytest.raises(Forbidden):
                await asyncio.wait_for(call(http("get", url)), 5)
