# SPDX-License-Identifier: Apache-2.0
"""The HTTP API of temporal on a real Kafka: what it answers, and that what it refuses leaves no trace."""

import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.errors import Invalid, NotFound
from nerv.protocols import Appended, AppendRequest, ReadQuery
from nerv.types import Event, format_instant, new_event_id

pytestmark = pytest.mark.asyncio(loop_scope="module")

APPS = Path(__file__).parent.parent.parent / "apps"
NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)
STRUCTURED = "application/cloudevents+json"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(kafka: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMesh]:
    """Two replicas of temporal."""
    folder = tmp_path_factory.mktemp("temporal") / ".nerv"
    name = f"t{uuid.uuid4().hex[:8]}"
    async with LocalMesh(
        app="ledger:app",
        services=["temporal"],
        replicas={"temporal": 2},
        folder=folder,
        mesh=name,
        kafka=kafka,
        redis=redis_url,
        env={"PYTHONPATH": str(APPS)},
    ) as running:
        yield running


def deposit(amount: int = 5, *, time: datetime = NOON, account: str = "a") -> Event[bytes]:
    """A deposit with an id of its own."""
    data = json.dumps({"account": account, "amount": amount}).encode()
    return Event(new_event_id(), "test", "account.deposited.v1", time, data)


def document(**changes: Any) -> dict[str, Any]:
    """A deposit as a structured CloudEvent."""
    return {
        "specversion": "1.0",
        "id": new_event_id(),
        "source": "test",
        "type": "account.deposited.v1",
        "time": "2013-01-15T12:00:00Z",
        "datacontenttype": "application/json",
        "data": {"account": "a", "amount": 5},
    } | changes


async def versions(client: Client, stream: str) -> int:
    """How many events the stream has."""
    try:
        return len([e async for e in client.streams.read(stream)])
    except NotFound:
        return 0


def fresh() -> str:
    """A stream nobody has written to."""
    return f"account-{uuid.uuid4().hex}"


async def test_append_answers_version_position_and_etag(http: aiohttp.ClientSession) -> None:
    """201 with the versions and the position; the same again is 200 and says that it is a duplicate."""
    path, body = f"/v1/streams/{fresh()}/events", json.dumps(document())
    async with http.post(path, data=body, headers={"content-type": STRUCTURED}) as first:
        answer = await first.json()
        assert first.status == 201, answer
        assert (first.status, first.headers["etag"]) == (201, '"1"')
    async with http.post(path, data=body, headers={"content-type": STRUCTURED}) as second:
        again = await second.json()
        assert second.status == 200
    assert (answer["first_version"], answer["duplicate"], again["first_version"], again["duplicate"]) == (
        1,
        False,
        1,
        True,
    )
    partition, _, offset = answer["position"].partition(":")
    assert partition.isdigit()
    assert offset.isdigit()


@pytest.mark.parametrize(
    ("body", "content_type", "query", "status", "words"),
    [
        ("{not json", STRUCTURED, "", 400, "JSON"),
        (json.dumps({"specversion": "1.0"}), STRUCTURED, "", 400, "id"),
        (json.dumps(document(data={"account": "a"})), STRUCTURED, "", 422, "amount"),
        (json.dumps(document(data={"account": "a", "amount": "x" * 300_000})), STRUCTURED, "", 413, "262144"),
        (json.dumps([document() for _ in range(501)]), "application/cloudevents-batch+json", "", 413, "500"),
        ("x" * (1024 * 1024 + 1), STRUCTURED, "", 413, "1048576"),
        (json.dumps(document()), STRUCTURED, "?expected_version=3", 409, "version 0, not 3"),
        (json.dumps(document()), STRUCTURED, "?expected_version=soon", 400, "expected_version"),
        (json.dumps(document(id="a\r\nb")), STRUCTURED, "", 400, "id"),
        ("[" * 40 + "]" * 40, STRUCTURED, "", 413, "32"),
        (json.dumps(document()), "text/plain", "", 400, "content-type"),
    ],
    ids=[
        "json",
        "envelope",
        "schema",
        "event-size",
        "batch",
        "body",
        "version",
        "expectation",
        "crlf",
        "depth",
        "type",
    ],
)
async def test_refusals_say_why_and_write_nothing(
    http: aiohttp.ClientSession, client: Client, body: str, content_type: str, query: str, status: int, words: str
) -> None:
    """Each bad request has its status, a problem document that names the cause, and no event in the stream."""
    stream = fresh()
    path = f"/v1/streams/{stream}/events{query}"
    async with http.post(path, data=body.encode(), headers={"content-type": content_type}) as answer:
        problem = await answer.json(content_type="application/problem+json")
    assert (answer.status, problem["status"]) == (status, status), problem
    assert words in json.dumps(problem), problem
    assert {"type", "title", "detail", "instance"} <= problem.keys()
    assert await versions(client, stream) == 0


async def test_one_bad_event_refuses_the_whole_batch(http: aiohttp.ClientSession, client: Client) -> None:
    """Two events, the second of the wrong schema: neither is written."""
    stream = fresh()
    body = json.dumps([document(), document(data={})])
    path, headers = f"/v1/streams/{stream}/events", {"content-type": "application/cloudevents-batch+json"}
    async with http.post(path, data=body, headers=headers) as answer:
        assert answer.status == 422
    assert await versions(client, stream) == 0


async def test_every_replica_takes_appends_and_reads_them_back(mesh: LocalMesh) -> None:
    """What one replica does not own it forwards; reads of either replica see the append at once."""
    async with (
        Client({"temporal": mesh.url("temporal")}) as one,
        Client({"temporal": mesh.url("temporal-2")}) as two,
    ):
        for stream in (fresh() for _ in range(8)):
            for number, client in enumerate((one, two, one, two), start=1):
                [outcome] = await client.streams.append([AppendRequest(stream, [deposit()])])
                assert isinstance(outcome, Appended), outcome
                for reader in (one, two):
                    state = await reader.streams.state(stream)
                    assert state["state"] == {"balance": 5 * number, "deposits": number}


async def test_state_as_of_a_version_and_both_times(client: Client) -> None:
    """By version, by valid time (late events are folded where they belong), by recorded time, and both."""
    stream = fresh()
    [first] = await client.streams.append([AppendRequest(stream, [deposit(1, time=NOON + timedelta(days=2))])])
    assert isinstance(first, Appended)
    await client.streams.append([AppendRequest(stream, [deposit(10, time=NOON)])])

    async def balance(**query: Any) -> int | None:
        state = (await client.streams.state(stream, **query))["state"]
        return None if state is None else int(state["balance"])

    assert await balance() == 11
    assert await balance(version=1) == 1
    assert await balance(as_of=NOON) == 10
    assert await balance(as_of=NOON - timedelta(seconds=1)) is None
    assert await balance(known_at=first.recorded_time) == 1
    assert await balance(as_of=NOON, known_at=first.recorded_time) is None


async def test_a_future_known_at_is_refused(client: Client) -> None:
    """Nobody knows yet what will be recorded."""
    stream = fresh()
    await client.streams.append([AppendRequest(stream, [deposit()])])
    with pytest.raises(Invalid, match="future"):
        await client.streams.state(stream, known_at=datetime.now(UTC) + timedelta(minutes=5))


async def test_a_read_as_known_at_now_never_changes_later(client: Client) -> None:
    """After a read as known at T, nothing is recorded at or before T: the same read gives the same answer."""
    stream = fresh()
    await client.streams.append([AppendRequest(stream, [deposit()])])
    known_at = datetime.now(UTC)
    before = [e.id async for e in client.streams.read(stream, ReadQuery(known_at=known_at))]
    [outcome] = await client.streams.append([AppendRequest(stream, [deposit()])])
    assert isinstance(outcome, Appended)
    assert outcome.recorded_time > known_at
    assert [e.id async for e in client.streams.read(stream, ReadQuery(known_at=known_at))] == before


async def test_strong_reads_and_positions_are_answered_by_any_replica(mesh: LocalMesh, client: Client) -> None:
    """`consistency=strong` and `min_position` see the append, on both replicas; nonsense is refused."""
    stream = fresh()
    [outcome] = await client.streams.append([AppendRequest(stream, [deposit()])])
    assert isinstance(outcome, Appended)
    path = f"/v1/streams/{stream}/events"
    for name in ("temporal", "temporal-2"):
        async with aiohttp.ClientSession(mesh.url(name)) as session:
            for query in ({"consistency": "strong"}, {"min_position": f"{outcome.partition}:{outcome.offset}"}):
                async with session.get(path, params=query) as answer:
                    assert [e["sequence"] for e in (await answer.json())["events"]] in ([1], ["1"])
            async with session.get(path, params={"consistency": "eventual"}) as answer:
                assert answer.status == 400
            async with session.get(path, params={"min_position": "x"}) as answer:
                assert answer.status == 400


async def test_unknown_streams_projections_and_paths_are_not_found(http: aiohttp.ClientSession) -> None:
    """404 as a problem document that says what there is."""
    for path in (f"/v1/streams/{fresh()}/events", "/v1/streams/other-1/state", "/v1/nothing"):
        async with http.get(path) as answer:
            assert answer.status == 404
            assert answer.content_type == "application/problem+json"


async def test_pages_of_a_stream_hold_everything_once(client: Client) -> None:
    """More events than a page, both ways."""
    stream = fresh()
    await client.streams.append([AppendRequest(stream, [deposit() for _ in range(40)]) for _ in range(30)])
    forward = [e.sequence async for e in client.streams.read(stream)]
    assert forward == list(range(1, 1201))
    assert [e.sequence async for e in client.streams.read(stream, ReadQuery(backward=True))] == forward[::-1]


async def test_the_service_describes_itself(http: aiohttp.ClientSession) -> None:
    """`/.well-known/nerv` names the service, its mesh and the app."""
    async with http.get("/.well-known/nerv") as answer:
        described = await answer.json()
    assert described["service"] == "temporal"
    assert format_instant(NOON)
