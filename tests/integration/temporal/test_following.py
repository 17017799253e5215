# SPDX-License-Identifier: Apache-2.0
"""Streamed reads and subscriptions of a real *temporal*: whole, resumed, over a death of their replica, in bounded memory."""

import asyncio
import json
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import psutil
import pytest
import pytest_asyncio

import nerv.client.sse
from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.errors import Unavailable
from nerv.protocols import Appended, AppendRequest, ReadQuery
from nerv.types import Event, new_event_id

pytestmark = pytest.mark.asyncio(loop_scope="module")

APPS = Path(__file__).parent.parent.parent / "apps"
NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)
NDJSON, SSE = {"accept": "application/x-ndjson"}, {"accept": "text/event-stream"}
MIB = 1024 * 1024


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(kafka: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMesh]:
    """Two replicas of temporal, with quick heartbeats and few subscribers."""
    async with LocalMesh(
        app="ledger:app",
        services=["temporal"],
        replicas={"temporal": 2},
        folder=tmp_path_factory.mktemp("following") / ".nerv",
        mesh=f"t{uuid.uuid4().hex[:8]}",
        kafka=kafka,
        redis=redis_url,
        env={"PYTHONPATH": str(APPS), "NERV_READS__HEARTBEAT_SECONDS": "0.2", "NERV_READS__SUBSCRIBERS": "8"},
        persist=True,
    ) as running:
        yield running


def noted(data: bytes = b'{"n":1}', kind: str = "thing.noted.v1") -> Event[bytes]:
    """An event with an id of its own."""
    return Event(new_event_id(), "test", kind, NOON, data)


def fresh() -> str:
    """A category nobody has written to."""
    return f"c{uuid.uuid4().hex[:12]}"


async def append(client: Client, stream: str, count: int, data: bytes = b'{"n":1}') -> None:
    """So many events, in batches that fit a request."""
    size = max(1, min(500, 900_000 // (len(data) + 200)))
    for start in range(0, count, size):
        events = [noted(data) for _ in range(min(size, count - start))]
        [outcome] = await client.streams.append([AppendRequest(stream, events)])
        assert isinstance(outcome, Appended), outcome


async def lines(http: aiohttp.ClientSession, path: str, **params: str) -> list[dict[str, object]]:
    """All lines of an NDJSON answer."""
    async with http.get(path, params=params, headers=NDJSON) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "application/x-ndjson"
        return [json.loads(line) async for line in answer.content]


async def test_a_stream_is_streamed_whole_and_says_its_end(http: aiohttp.ClientSession, client: Client) -> None:
    """As lines: a position, each event with its position, and the end; also backward, limited and by type."""
    stream = f"{fresh()}-1"
    await append(client, stream, 1203)
    path = f"/v1/streams/{stream}/events"
    first, *events, last = await lines(http, path)
    assert (first, last) == ({"position": "0"}, {"position": "1203", "end": True})
    assert [line["position"] for line in events] == [str(n) for n in range(1, 1204)]
    assert {line["event"]["subject"] for line in events} == {stream}  # type: ignore[index]  # lines of events have one
    _, *events, _ = await lines(http, path, direction="backward", limit="700")
    assert [line["position"] for line in events] == [str(n) for n in range(1203, 503, -1)]
    _, *events, _ = await lines(http, path, types="other.*")
    assert events == []


async def test_data_with_line_breaks_stays_on_its_line(http: aiohttp.ClientSession, client: Client) -> None:
    """JSON that its writer has laid out over lines is one line of an answer, and one server-sent event."""
    stream = f"{fresh()}-1"
    await append(client, stream, 1, b'{\n  "text": "a\\nb",\r\n\n  "n": 1\n}')
    _, line, _ = await lines(http, f"/v1/streams/{stream}/events")
    assert line["event"]["data"] == {"text": "a\nb", "n": 1}  # type: ignore[index]  # as above
    async with aclosing(client.streams.subscribe(stream)) as subscription:
        assert json.loads((await anext(subscription)).event.data) == {"text": "a\nb", "n": 1}


async def test_pages_and_streamed_answers_of_both_replicas_agree(mesh: LocalMesh, client: Client) -> None:
    """A page from one replica, the next from the other, forward and backward: each event once, as in one answer."""
    category = fresh()
    for number in range(12):
        await append(client, f"{category}-{number}", 11 + number)
    async with aiohttp.ClientSession(mesh.url("temporal")) as one, aiohttp.ClientSession(mesh.url("temporal-2")) as two:
        for direction in ("forward", "backward"):
            whole = await lines(two, "/v1/streams", category=category, direction=direction)
            ids = [line["event"]["id"] for line in whole[1:-1]]  # type: ignore[index]  # lines of events have one
            assert len(set(ids)) == 198
            found: list[str] = []
            params = {"category": category, "direction": direction, "limit": "37"}
            for session in (one, two, one, two, one, two):
                async with session.get("/v1/streams", params=params) as answer:
                    page = await answer.json()
                found += [event["id"] for event in page["events"]]
                params["after"] = page["next"]
            assert found == ids
            rest = await lines(
                one, "/v1/streams", category=category, direction=direction, after=str(whole[50]["position"])
            )
            assert [line["event"]["id"] for line in rest[1:-1]] == ids[50:]  # type: ignore[index]  # as above


async def test_a_subscriber_outlives_the_replica_it_reads_from(mesh: LocalMesh) -> None:
    """The replica is killed while it sends; the client goes on with the other one, without a gap and without a double, and
    ends after as many events as it was to read in all.
    """
    category, count = fresh(), 3000
    port = 0

    async def through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # As a load balancer does: to the first replica that is there.
        for name in ("temporal", "temporal-2"):
            try:
                there = urlsplit(mesh.url(name))
                inside, outside = await asyncio.open_connection(there.hostname, there.port)
                break
            except OSError:
                continue
        else:
            writer.close()
            return
        await asyncio.wait(
            [asyncio.create_task(_pump(reader, outside)), asyncio.create_task(_pump(inside, writer))],
            return_when=asyncio.FIRST_COMPLETED,
        )
        for one in (outside, writer):
            one.close()

    balancer = await asyncio.start_server(through, "127.0.0.1", 0)
    port = balancer.sockets[0].getsockname()[1]
    async with Client({"temporal": f"http://127.0.0.1:{port}"}) as client:
        found: list[tuple[str, int | None]] = []
        written = asyncio.Event()

        async def write() -> None:
            for number in range(0, count, 10):
                requests = [AppendRequest(f"{category}-{(number + i) % 7}", [noted()]) for i in range(10)]
                outcomes = await client.streams.append(requests, seconds=60.0)
                assert all(isinstance(outcome, Appended) for outcome in outcomes), outcomes
            written.set()

        writing = asyncio.create_task(write())
        limited = ReadQuery(limit=count - 100)
        async with (
            asyncio.timeout(120),
            aclosing(client.streams.subscribe_category(category, query=limited)) as subscription,
        ):
            async for one in subscription:
                found.append((one.event.stream, one.event.sequence))
                if len(found) == 500:
                    await mesh.kill("temporal")
        await writing
    balancer.close()
    await mesh.restart("temporal")
    for number in range(7):
        stream = f"{category}-{number}"
        versions = [version for name, version in found if name == stream]
        assert versions == list(range(1, len(versions) + 1))
    assert len(found) == count - 100


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    except OSError:
        return


async def test_heartbeats_carry_the_position_past_what_was_not_selected(
    http: aiohttp.ClientSession, client: Client
) -> None:
    """A reader for whom nothing comes is told how far the log was looked at, so that it need not be looked at again."""
    category = fresh()
    params = {"category": category, "types": "none.*", "follow": "true", "from": "end"}
    async with asyncio.timeout(30), http.get("/v1/streams", params=params, headers=SSE) as answer:
        before = await answer.content.readuntil(b"\n\n")
        await append(client, f"{category}-1", 3)
        while (now := await answer.content.readuntil(b"\n\n")) == before:
            pass
    assert now.startswith(b"id: 0:")
    assert b"data" not in now


async def test_subscribers_are_bounded_and_gone_ones_are_noticed(http: aiohttp.ClientSession) -> None:
    """The ninth is refused with 429; when the others have gone, there is room again."""
    path, params = f"/v1/streams/{fresh()}-1/events", {"follow": "true"}
    open_ones: list[aiohttp.ClientResponse] = []
    async with asyncio.timeout(30):
        while len(open_ones) < 8:  # a subscriber of an earlier test may not be noticed yet to have gone
            answer = await http.get(path, params=params, headers=SSE)
            if answer.status == 200:
                open_ones.append(answer)
                await answer.content.readuntil(b"\n\n")
            else:
                answer.release()
                await asyncio.sleep(0.05)
    async with http.get(path, params=params, headers=SSE) as refused:
        assert refused.status == 429
        assert "retry-after" in refused.headers
    for answer in open_ones:
        answer.close()
    async with asyncio.timeout(30):
        while True:
            async with http.get(path, params=params, headers=SSE) as again:
                if again.status == 200:
                    return
            await asyncio.sleep(0.05)


async def test_memory_is_bounded_whatever_the_reader_does(mesh: LocalMesh, client: Client) -> None:
    """200,000 events are streamed, and a reader that stops in the middle of them holds nothing but a slice."""
    stream = f"{fresh()}-1"
    data = json.dumps({"text": "x" * 100}).encode()
    await append(client, stream, 200_000, data)
    process = psutil.Process(mesh.pid("temporal"))
    url = urlsplit(mesh.url("temporal"))
    path = f"/v1/streams/{stream}/events"
    request = f"GET {path} HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n".encode()
    async with aiohttp.ClientSession(mesh.url("temporal")) as http:
        assert len(await lines(http, path, limit="20000")) == 20_002  # what the first read needs is there from here on
        before = process.memory_info().rss
        stalled = socket.create_connection((url.hostname or "", url.port or 0))
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        stalled.sendall(request)
        highest = before
        async with http.get(path, headers=NDJSON) as answer:
            count = 0
            async for _ in answer.content:
                count += 1
                if count % 5000 == 0:
                    highest = max(highest, process.memory_info().rss)
        stalled.close()
    assert count == 200_002
    assert highest - before < 48 * MIB, f"grew by {(highest - before) / MIB:.0f} MiB for 100 MB"


async def test_what_cannot_be_followed_is_refused(http: aiohttp.ClientSession) -> None:
    """Each with 400 and a word on what to do."""
    for params, words in (
        ({"follow": "true", "direction": "backward"}, "for ever"),
        ({"follow": "maybe"}, "true or false"),
        ({"from": "end"}, "follow=true"),
        ({"follow": "true", "after": "0:1"}, "partitions"),
        ({"after": "9:1,0:1"}, "partition 9"),
        ({"follow": "true", "known_at": "2013-01-01T00:00:00Z"}, "for ever"),
    ):
        async with http.get("/v1/streams", params=params, headers=NDJSON) as answer:
            problem = await answer.json(content_type="application/problem+json")
            assert (answer.status, words in problem["detail"]) == (400, True), problem


async def test_a_position_beyond_the_log_is_not_waited_for_in_silence(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be of another topic, or of a replica that is ahead: the reader is told, once the time of a request is up."""
    monkeypatch.setattr(nerv.client.sse, "DEADLINE_SECONDS", 1.0)
    end = await client.streams.end()
    beyond = ",".join(f"{pair.partition(':')[0]}:{int(pair.partition(':')[2]) + 1000}" for pair in end.split(","))
    async with asyncio.timeout(30):
        with pytest.raises(Unavailable, match="not here yet"):
            async with aclosing(client.streams.subscribe_category(None, after=beyond)) as subscription:
                await anext(subscription)
