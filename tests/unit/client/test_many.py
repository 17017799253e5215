# SPDX-License-Identifier: Apache-2.0
"""Many streams, and many views, by few requests: in parts that an address and an answer have room for."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from nerv.api.event.v1 import event_pb2
from nerv.api.history.v1 import history_pb2
from nerv.client import Client
from nerv.client.streams import PROTOBUF
from nerv.protocols import Latest

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)
NOON_US = int(NOON.timestamp() * 1_000_000)
ROOM = 120  # streams that an answer has room for
GONE = "gone"


class Server:
    """Has every view but one, and streams at version 7."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def latest(self, request: web.Request) -> web.Response:
        """POST /v1/streams/latest"""
        asked = history_pb2.LatestRequest.FromString(await request.read())
        self.asked.append(len(asked.streams))
        found = [
            history_pb2.Latest()
            if stream == GONE
            else history_pb2.Latest(version=7, time_us=NOON_US, event=event_pb2.Event(id=stream, time_us=NOON_US))
            for stream in asked.streams[:ROOM]
        ]
        return web.Response(body=history_pb2.LatestReply(streams=found).SerializeToString(), content_type=PROTOBUF)

    async def views(self, request: web.Request) -> web.Response:
        """GET /v1/views/planes?keys=..."""
        keys = request.query["keys"].split(",")
        self.asked.append(len(keys))
        return web.json_response({"views": [{"key": key} for key in keys if key != GONE], "next": None})

    async def view(self, request: web.Request) -> web.Response:
        """GET /v1/views/planes/{key}"""
        self.asked.append(1)
        key = request.match_info["key"]
        if GONE in key:
            return web.json_response({"type": "urn:nerv:problem:NotFound", "detail": "no"}, status=404)
        return web.json_response({"key": key})


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, str]]:
    """The server, and where it is."""
    made = Server()
    app = web.Application(handler_args={"max_line_size": 32 * 1024})
    app.add_routes(
        [
            web.post("/v1/streams/latest", made.latest),
            web.get("/v1/views/planes", made.views),
            web.get("/v1/views/planes/{key}", made.view),
        ]
    )
    async with TestServer(app) as running:
        yield made, str(running.make_url("/"))


async def test_streams_that_an_answer_leaves_out_are_asked_for_again(server: tuple[Server, str]) -> None:
    """Each is answered once, in order; one that does not exist has version 0."""
    made, url = server
    names = [f"plane-{n}" for n in range(700)] + [GONE]
    async with Client({"temporal": url}) as client:
        found = await client.streams.latest(names)
        assert await client.streams.latest([]) == []
    assert [one.event and one.event.id for one in found] == [*names[:-1], None]
    assert (found[0].version, found[0].time, found[-1]) == (7, NOON, Latest())
    assert made.asked == [500, 500, 461, 341, 221, 101]


async def test_views_are_asked_for_as_an_address_has_room(server: tuple[Server, str]) -> None:
    """Hundreds at a time, fewer where keys are long; a key with a comma is asked for alone; what is not there is left out."""
    made, url = server
    keys = [f"N{n}" for n in range(600)] + ["ü" * 200 + str(n) for n in range(20)] + ["a,b", f"{GONE},b", GONE]
    async with Client({"projector": url}) as client:
        found = await client.views.many("planes", keys)
    assert set(found) == set(keys) - {GONE, f"{GONE},b"}
    assert found["a,b"] == {"key": "a,b"}
    assert made.asked == [500, 113, 8, 1, 1]
