# SPDX-License-Identifier: Apache-2.0
"""What the client makes of answers that do not come, against a server that answers as it is told."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from nerv.api.history.v1 import history_pb2
from nerv.client import Client
from nerv.client.streams import PROTOBUF
from nerv.errors import NervError, Overloaded, UnknownOutcome
from nerv.protocols import Appended, AppendRequest
from nerv.types import Event, new_event_id
from nerv_temporal.wire import reply_to

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)
DONE = Appended(1, 1, 2, 40, NOON)


class Server:
    """Answers with these outcomes once, and then that it is not available."""

    def __init__(self) -> None:
        self.outcomes: list[Appended | NervError] = []
        self.queries: list[dict[str, str]] = []

    async def append(self, request: web.Request) -> web.Response:
        """POST /v1/streams"""
        if not self.outcomes:
            return web.json_response({"type": "urn:nerv:problem:Unavailable"}, status=503)
        reply = history_pb2.AppendBatchReply(replies=[reply_to(one, "history") for one in self.outcomes])
        self.outcomes = []
        return web.Response(body=reply.SerializeToString(), content_type=PROTOBUF)

    async def end(self, request: web.Request) -> web.Response:
        """GET /v1/streams"""
        return web.json_response({"position": "0:5,1:0,2:60"})

    async def read(self, request: web.Request) -> web.Response:
        """GET /v1/streams/{stream}/events"""
        self.queries.append(dict(request.query))
        return web.Response(body=b"", content_type=PROTOBUF)


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, str]]:
    """The server, and where it is."""
    made = Server()
    app = web.Application()
    app.add_routes(
        [
            web.post("/v1/streams", made.append),
            web.get("/v1/streams", made.end),
            web.get("/v1/streams/{stream}/events", made.read),
        ]
    )
    async with TestServer(app) as running:
        yield made, str(running.make_url("/"))


def request(stream: str) -> AppendRequest:
    """One event."""
    return AppendRequest(stream, [Event(new_event_id(), "test", "thing.noted.v1", NOON, b"{}")])


async def test_what_is_known_stays_known_when_a_repeat_fails(server: tuple[Server, str]) -> None:
    """Done stays done, unknown stays unknown, and not done is told as such, though the service has gone away meanwhile."""
    made, url = server
    made.outcomes = [DONE, UnknownOutcome("no verdict"), Overloaded("full")]
    async with Client({"temporal": url}) as client:
        outcomes = await client.streams.append([request("a"), request("b"), request("c")], seconds=1.0)
    assert outcomes[0] == DONE
    assert [type(one).__name__ for one in outcomes[1:]] == ["UnknownOutcome", "Unavailable"]


async def test_reads_ask_for_what_the_client_has_written(server: tuple[Server, str]) -> None:
    """The furthest position of each partition goes along with a read; before any append there is none."""
    made, url = server
    async with Client({"temporal": url}) as client:
        assert [event async for event in client.streams.read("a")] == []
        made.outcomes = [DONE, Appended(1, 1, 0, 7, NOON), Appended(1, 1, 2, 39, NOON)]
        await client.streams.append([request("a"), request("b"), request("c")])
        assert [event async for event in client.streams.read("a")] == []
    assert [query.get("min_position") for query in made.queries] == [None, "0:7,2:40"]


async def test_reads_show_what_history_was_told_to_hold(server: tuple[Server, str]) -> None:
    """The end that one replica has told bounds what any may answer then; where nothing is there is nothing to wait for."""
    made, url = server
    async with Client({"temporal": url}) as client:
        made.outcomes = [Appended(1, 1, 0, 7, NOON)]
        await client.streams.append([request("a")])
        assert await client.streams.end() == "0:5,1:0,2:60"
        assert [event async for event in client.streams.read("a")] == []
    assert made.queries[0]["min_position"] == "0:7,2:59"
