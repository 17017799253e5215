# SPDX-License-Identifier: Apache-2.0
"""Effects that call outside systems: only those that are listed, with one key however often they are tried."""

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import nerv
from nerv.client import Client
from nerv.errors import Conflict, Misconfigured
from nerv.protocols.queue import RunStatus
from nerv.testing.clock import ManualClock
from nerv.workflows import Result
from nerv_scheduler.effects import Performer, write_down
from tests.unit.scheduler.scheduler_in_memory import Noted, World, made


async def outcome(world: World) -> tuple[RunStatus, str]:
    """How a run of the world ends."""
    await world.starter.start("w", {}, "r1")
    async with world.replica():
        state = await world.ended("r1")
    return state.status, state.error


async def test_a_call_that_fails_is_repeated_under_its_key() -> None:
    """Twice 503, then done: three requests, one Idempotency-Key, one result."""
    seen: list[tuple[str, Any]] = []

    async def door(request: web.Request) -> web.Response:
        seen.append((request.headers["Idempotency-Key"], await request.json()))
        return web.Response(status=503 if len(seen) < 3 else 200)

    app = web.Application()
    app.router.add_post("/pay", door)
    async with TestServer(app) as server:
        url = str(server.make_url("/pay"))

        async def work() -> Result:
            return Result(1, [nerv.http("post", url, {"amount": 5})])

        world = made(work)
        world.outside = (f"http://127.0.0.1:{server.port}",)
        assert await outcome(world) == (RunStatus.COMPLETED, "")
    assert [body for _, body in seen] == [{"amount": 5}] * 3
    assert len({key for key, _ in seen}) == 1
    assert await world.types("r1") == ["run.submitted", "task.completed", "task.effects-done", "run.completed"]


@pytest.mark.parametrize("listed", [(), ("https://example.org",), ("http://127.0.0.1:1",)])
async def test_what_is_not_listed_is_never_called(listed: tuple[str, ...]) -> None:
    """Refused before the result is recorded, once, with the setting to change; host and port count, not the beginning."""

    async def work() -> Result:
        return Result(1, [nerv.http("GET", "http://127.0.0.1:1x.example.org/")])

    world = made(work, retries=3)
    world.outside = listed
    status, error = await outcome(world)
    assert status is RunStatus.FAILED
    assert "NERV_SCHEDULER__HTTP_ALLOW" in error
    assert (await world.types("r1")).count("task.failed") == 1


async def test_a_publish_that_is_owed_for_too_long_is_left_to_a_person() -> None:
    """The broker has forgotten by then what it has published; before, the broker is asked."""
    world = made(lambda: None)
    clock = ManualClock()
    event = nerv.publish(Noted(n=1))
    effects = write_down(world.app, "r1", [event], ["e1"], clock.now())
    async with Client({}) as client:
        performer = Performer(world.history, client, world.starter, clock)
        clock.advance(22 * 3600)
        performed, error = await performer.perform(effects)
        assert performed == 0
        assert isinstance(error, Misconfigured)  # it has no broker here, and so it was to be asked
        clock.advance(2 * 3600)
        performed, error = await performer.perform(effects)
        assert performed == 0
        assert isinstance(error, Conflict)
        assert "restart the step" in error.detail
