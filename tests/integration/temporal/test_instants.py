# SPDX-License-Identifier: Apache-2.0
"""What was known at an instant is known so for ever: on every replica, by owners whose clocks go wrong, over take-overs."""

import asyncio
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
from nerv.types import Event, format_instant, new_event_id, parse_instant

pytestmark = pytest.mark.asyncio(loop_scope="module")

APPS = Path(__file__).parent.parent.parent / "apps"
NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)
DAY = "2013-01-01T00:00:00Z"
BOTH = ("temporal", "temporal-2")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(kafka: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMesh]:
    """Two replicas of temporal on machines whose clocks can be set."""
    async with LocalMesh(
        app="skewed:app",
        services=["temporal"],
        replicas={"temporal": 2},
        folder=tmp_path_factory.mktemp("instants") / ".nerv",
        mesh=f"t{uuid.uuid4().hex[:8]}",
        kafka=kafka,
        redis=redis_url,
        env={"PYTHONPATH": str(APPS)},
        persist=True,
    ) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clients(mesh: LocalMesh) -> AsyncIterator[list[Client]]:
    """A client of each replica; neither knows what the other has written."""
    async with (
        Client({"temporal": mesh.url("temporal")}) as one,
        Client({"temporal": mesh.url("temporal-2")}) as two,
    ):
        yield [one, two]


def set_clock(mesh: LocalMesh, name: str, wrong_by: float) -> None:
    """Put a replica's clock forward or back."""
    (mesh.folder / "data" / f"{name}.clock").write_text(str(wrong_by))


def deposit(amount: int = 1, *, time: datetime = NOON) -> Event[bytes]:
    """A deposit with an id of its own."""
    data = json.dumps({"account": "a", "amount": amount}).encode()
    return Event(
        new_event_id(), "teller/7", "account.deposited.v1", time, data, correlation_id="c-1", causation_id="c-0"
    )


async def append(client: Client, stream: str, *events: Event[bytes]) -> Appended:
    """Append what must be done."""
    [outcome] = await client.streams.append([AppendRequest(stream, events)], seconds=60.0)
    assert isinstance(outcome, Appended), outcome
    return outcome


async def everything(client: Client, category: str, known_at: datetime) -> tuple[list[Any], list[Any]]:
    """All events and all states of a category as known at an instant."""
    query = ReadQuery(known_at=known_at)
    events = [(e.stream, e.sequence, e.id) async for e in client.streams.read_category(category, query)]
    states = [row async for row in client.streams.states(category, known_at=known_at, projection="account")]
    return events, states


async def test_what_was_known_stays_so_while_owners_with_wrong_clocks_take_over(
    mesh: LocalMesh, clients: list[Client]
) -> None:
    """Clocks of both replicas go forward and back by up to 50 s while each is killed in turn and somebody writes; every
    read as known at an instant, repeated on either replica after all that, gives the first answer.
    """
    category = f"account{uuid.uuid4().hex[:8]}"
    streams = [f"{category}-{number}" for number in range(12)]
    seen: dict[datetime, tuple[list[Any], list[Any]]] = {}
    for turn, (first, second) in enumerate([(0.0, 0.0), (25.0, -30.0), (-30.0, 20.0), (-20.0, -50.0), (0.0, 45.0)]):
        set_clock(mesh, "temporal", first)
        set_clock(mesh, "temporal-2", second)
        for number, stream in enumerate(streams):
            await append(clients[(turn + number) % 2], stream, deposit(turn + 1))
        for name, wrong_by, client in zip(BOTH, (first, second), clients, strict=True):
            known_at = datetime.now(UTC) + timedelta(seconds=wrong_by)  # "now" as that replica's machine has it
            seen[known_at] = await everything(client, category, known_at)
            await append(client, streams[turn], deposit(100), deposit(100))
            assert await everything(client, category, known_at) == seen[known_at], name
        if turn in (1, 3):
            name, survivor = (BOTH[0], clients[1]) if turn == 1 else (BOTH[1], clients[0])
            await mesh.kill(name)
            for stream in streams:
                await append(survivor, stream, deposit(7))
            await mesh.restart(name)
    for known_at, answer in seen.items():
        for client in clients:
            assert await everything(client, category, known_at) == answer
    assert len({len(events) for events, _ in seen.values()}) > 5


async def test_a_replica_whose_clock_is_ahead_may_ask_an_owner_whose_clock_is_behind(
    mesh: LocalMesh, clients: list[Client]
) -> None:
    """Up to a minute apart, "as known now" is answered on either; what one has answered, the other does not refuse as yet
    to come; an instant that nobody's clock has reached is refused.
    """
    set_clock(mesh, "temporal", 20.0)
    set_clock(mesh, "temporal-2", -20.0)
    for number in range(8):  # owned by one or the other
        stream = f"account-{uuid.uuid4().hex}-{number}"
        first = await append(clients[1], stream, deposit())
        # Beyond what earlier tests have recorded with a clock that was ahead, by the first replica's clock the present.
        known = ReadQuery(known_at=max(datetime.now(UTC) + timedelta(seconds=18), first.recorded_time))
        read = [e.id async for e in clients[0].streams.read(stream, known)]
        later = await append(clients[1], stream, deposit())
        assert later.recorded_time > (known.known_at or NOON)
        assert [e.id async for e in clients[1].streams.read(stream, known)] == read
        never = ReadQuery(known_at=datetime.now(UTC) + timedelta(hours=1))
        for client in clients:
            with pytest.raises(Invalid, match="future"):
                _ = [e async for e in client.streams.read(stream, never)]
    beyond = format_instant(datetime.now(UTC) + timedelta(hours=1))
    async with aiohttp.ClientSession(mesh.url("temporal")) as http:
        own: list[str] = []
        async with asyncio.timeout(60):
            while not own:  # it was started anew a moment ago
                async with http.get("/v1/partitions") as answer:
                    own = [str(row["partition"]) for row in (await answer.json())["partitions"] if row["here"]]
        query = {"partitions": own[0], "known_at": beyond}  # not even where it looks as if another replica asked
        async with http.post("/v1/partitions/positions", params=query, headers={"nerv-forwarded": "1"}) as answer:
            assert answer.status == 400
    set_clock(mesh, "temporal", 0.0)
    set_clock(mesh, "temporal-2", 0.0)


async def test_an_answer_names_the_instant_it_holds_for(mesh: LocalMesh, clients: list[Client]) -> None:
    """A plain read and a plain state, asked again as known at the instant they name, are the same after later appends."""
    for number in range(6):
        stream = f"account-{uuid.uuid4().hex}-{number}"
        await append(clients[0], stream, deposit(5))
        for name in BOTH:
            async with aiohttp.ClientSession(mesh.url(name)) as http:
                paths = (f"/v1/streams/{stream}/events", f"/v1/streams/{stream}/state")
                first = []
                for path in paths:
                    async with http.get(path) as answer:
                        first.append((path, answer.headers["nerv-known-at"], await answer.json()))
                await append(clients[1], stream, deposit(6))
                for path, known_at, document in first:
                    async with http.get(path, params={"known_at": known_at}) as again:
                        assert await again.json() == document
                        assert again.headers["nerv-known-at"] == known_at


async def test_valid_time_alone_changes_when_an_earlier_fact_comes_later(clients: list[Client]) -> None:
    """As of an instant of valid time only, a late event is part of the answer; with a recorded instant it is not."""
    client, stream = clients[0], f"account-{uuid.uuid4().hex}"
    await append(client, stream, deposit(1, time=NOON))
    as_of = NOON + timedelta(hours=1)
    first = await client.streams.state(stream, as_of=as_of)
    known_at = parse_instant(first["known_at"])
    await append(client, stream, deposit(10, time=NOON - timedelta(hours=1)))
    assert (await client.streams.state(stream, as_of=as_of))["state"]["balance"] == 11
    assert await client.streams.state(stream, as_of=as_of, known_at=known_at) == first


async def test_states_of_a_category_are_those_of_one_instant(clients: list[Client]) -> None:
    """Paged, while somebody writes: as many deposits as there were at the instant, and no stream that came later."""
    category = f"account{uuid.uuid4().hex[:8]}"
    for number in range(620):
        await append(clients[0], f"{category}-{number:03}", deposit())
    rows = clients[1].streams.states(category, projection="account")
    found = [await anext(rows)]
    for number in (0, 300, 619, 700):
        await append(clients[0], f"{category}-{number:03}", deposit())
    found += [row async for row in rows]
    assert [row["stream"] for row in found] == [f"{category}-{number:03}" for number in range(620)]
    assert {row["state"]["deposits"] for row in found} == {1}
    assert len({row["known_at"] for row in found}) == 1
    before = [row async for row in clients[0].streams.states(category, as_of=NOON - timedelta(1), projection="account")]
    assert before == []


async def test_a_diff_tells_what_changed(clients: list[Client]) -> None:
    """Between versions, instants of valid time and recorded instants; from nothing; and nothing."""
    client, stream = clients[0], f"account-{uuid.uuid4().hex}"
    first = await append(client, stream, deposit(5, time=NOON + timedelta(hours=2)))
    second = await append(client, stream, deposit(7, time=NOON))
    changes = (await client.streams.diff(stream, 1, 2))["changes"]
    assert changes == [{"path": ["balance"], "old": 5, "new": 12}, {"path": ["deposits"], "old": 1, "new": 2}]
    found = await client.streams.diff(stream, 0, 2)
    assert found["changes"] == [{"path": ["balance"], "new": 12}, {"path": ["deposits"], "new": 2}]
    assert (found["from"]["version"], found["to"]["version"], found["by"]) == (0, 2, "version")
    found = await client.streams.diff(stream, NOON, NOON + timedelta(hours=2))
    assert found["changes"][0] == {"path": ["balance"], "old": 7, "new": 12}
    found = await client.streams.diff(stream, first.recorded_time, second.recorded_time, by="known_at")
    assert found["changes"][0] == {"path": ["balance"], "old": 5, "new": 12}
    backwards = await client.streams.diff(stream, second.recorded_time, first.recorded_time, by="known_at")
    assert backwards["changes"][0] == {"path": ["balance"], "old": 12, "new": 5}
    assert (await client.streams.diff(stream, 2, 10**18))["changes"] == []
    with pytest.raises(NotFound):
        await client.streams.diff(f"account-{uuid.uuid4().hex}", 1, 2)


async def test_bad_instants_and_versions_are_refused_with_a_word_on_what_to_do(
    mesh: LocalMesh, clients: list[Client]
) -> None:
    """400 and the reason; an instant before the first event is none of them, but an empty answer."""
    stream = f"account-{uuid.uuid4().hex}"
    await append(clients[0], stream, deposit())
    bad = {
        f"/v1/streams/{stream}/state": [
            {"version": "-1"}, {"version": "9" * 30}, {"version": "1.5"}, {"as_of": "yesterday"},
            {"as_of": "2013-01-01T00:00:00"},
            {"known_at": "9999-12-31T23:59:59Z"}, {"vresion": "1"}, {"consistency": "soon"}, {"min_position": "0:0,0:1"},
        ],
        f"/v1/streams/{stream}/diff": [
            {}, {"from": "1"}, {"from": "1", "to": "-2"}, {"from": "1", "to": "now"}, {"from": "1", "to": "2", "by": "size"},
            {"from": DAY, "to": "2"}, {"from": DAY, "to": DAY, "as_of": DAY},
        ],
        f"/v1/streams/{stream}/events": [
            {"from": "-1"}, {"from": "1e3"}, {"to": "\u00b2"}, {"limit": "0"}, {"limit": "1001"}, {"after": "x"},
            {"direction": "up"},
            {"types": ","}, {"recorded_from": "0"}, {"category": "a"},
        ],
        "/v1/streams": [
            {"after": "0:1"}, {"after": "0:2-1,1:1-2,2:1-2,3:1-2"}, {"after": "a:b"}, {"after": "0:1-2,0:1-2"},
            {"category": "a-b"},
            {"after": "0:" + "9" * 40}, {"streams": "x" * 300},
        ],
        "/v1/streams/states": [{}, {"category": "account", "after": "account-1"}, {"category": "account", "limit": "501"}],
    }  # fmt: skip
    async with aiohttp.ClientSession(mesh.url("temporal")) as http:
        for path, queries in bad.items():
            for query in queries:
                async with http.get(path, params=query) as answer:
                    problem = await answer.json(content_type="application/problem+json")
                assert answer.status in (400, 413), (path, query, problem)
                assert len(problem["detail"]) > 15, (path, query, problem)
        for name in ("as_of", "known_at"):
            async with http.get(f"/v1/streams/{stream}/state", params={name: "0001-01-01T00:00:00Z"}) as answer:
                assert (answer.status, (await answer.json())["state"]) == (200, None)
            async with http.get(f"/v1/streams/{stream}/events", params={name: "0001-01-01T00:00:00Z"}) as answer:
                assert (answer.status, (await answer.json())["events"]) == (200, [])
        async with http.get(f"/v1/streams/{stream}/events", params={"from": str(2**63 - 1)}) as answer:
            assert (answer.status, (await answer.json())["events"]) == (200, [])


async def test_a_read_goes_on_during_a_take_over(mesh: LocalMesh, clients: list[Client]) -> None:
    """What is known by a recorded instant that has passed needs no owner: it is read while there is none."""
    stream = f"account-{uuid.uuid4().hex}"
    done = await append(clients[0], stream, deposit())
    await append(clients[0], stream, deposit())
    query = ReadQuery(known_at=done.recorded_time)
    assert len([e async for e in clients[1].streams.read(stream, query)]) == 1
    await mesh.kill("temporal")
    try:
        async with asyncio.timeout(5):  # a take-over takes 6 s
            assert len([e async for e in clients[1].streams.read(stream, query)]) == 1
    finally:
        await mesh.restart("temporal")
