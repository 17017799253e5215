# SPDX-License-Identifier: Apache-2.0
"""Views as of an instant, folded from the history of a real *temporal*."""

import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from nerv.client import Client
from nerv.errors import NotFound
from nerv.protocols import Appended, AppendRequest
from nerv.types import Event, new_event_id
from tests.integration.projector.watching import projector_mesh, settled, states

START = datetime(2013, 1, 1, tzinfo=UTC)

pytestmark = pytest.mark.asyncio(loop_scope="module")


def trip(hour: int, plane: str, origin: str, dest: str) -> AppendRequest:
    """A trip that ended that many hours into the year."""
    data = {"plane": plane, "carrier": "AA", "origin": origin, "dest": dest, "minutes": 60}
    time = START + timedelta(hours=hour)
    event = Event(new_event_id(), "test", "trip.ended.v1", time, json.dumps(data).encode())
    return AppendRequest(f"plane-{plane}", [event])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(kafka: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """Four trips, the last of which was recorded late."""
    folder: Path = tmp_path_factory.mktemp("travel")
    name = f"t{uuid.uuid4().hex[:8]}"
    services = ("temporal", "projector")
    mesh = projector_mesh(folder, name, kafka, redis_url, services=services)
    async with mesh, Client({service: mesh.url(service) for service in services}) as client:
        for request in (trip(1, "N1", "JFK", "LAX"), trip(5, "N1", "LAX", "ORD"), trip(6, "N2", "JFK", "BOS")):
            [outcome] = await client.streams.append([request])
            assert isinstance(outcome, Appended)
        late = trip(3, "N1", "LAX", "SFO")
        await client.streams.append([late])
        await settled(client)
        yield client


def hours(number: float) -> datetime:
    """That many hours into the year."""
    return START + timedelta(hours=number)


async def test_a_straight_view_as_of_an_instant(client: Client) -> None:
    """Only what had happened by then, in the order in which it happened, counts."""
    assert (await client.views.get("plane", "N1"))["state"]["at"] == "SFO"
    assert (await client.views.get("plane", "N1", as_of=hours(2)))["state"]["at"] == "LAX"
    assert (await client.views.get("plane", "N1", as_of=hours(4)))["state"]["at"] == "SFO"
    now = await client.views.get("plane", "N1", as_of=hours(9), perspective="passenger")
    assert (now["state"]["at"], now["version"], now["state"]["hours"]) == ("ORD", 3, 3.0)
    assert now["as_of"] == "2013-01-01T09:00:00.000000Z"


async def test_a_view_as_it_was_known(client: Client) -> None:
    """What was recorded later is left out."""
    late = [event async for event in client.streams.read("plane-N1")][-1]
    assert late.recorded_time is not None
    before = late.recorded_time - timedelta(microseconds=1)
    assert (await client.views.get("plane", "N1", known_at=before))["state"]["trips"] == 2
    both = await client.views.get("plane", "N1", known_at=before, as_of=hours(4))
    assert (both["state"]["at"], both["version"]) == ("LAX", 1)


async def test_a_rekeyed_view_as_of_an_instant(client: Client) -> None:
    """Events of every stream that lead to the key are found."""
    assert (await client.views.get("airports", "LAX"))["version"] == 3
    assert (await client.views.get("airports", "LAX", as_of=hours(4)))["version"] == 2
    assert (await client.views.get("carriers", "AA", as_of=hours(5)))["state"] == {"trips": 3, "minutes": 180}


async def test_every_view_as_of_an_instant(client: Client) -> None:
    """The list holds what existed then, and nothing else."""
    found = {v["key"]: v["state"]["trips"] async for v in client.views.list("airports", as_of=hours(4))}
    assert found == {"JFK": 1, "LAX": 2, "SFO": 1}
    planes = {v["key"]: v["state"]["at"] async for v in client.views.list("plane", as_of=hours(5))}
    assert planes == {"N1": "ORD"}


async def test_what_changed_between_two_instants(client: Client) -> None:
    """Of every key, straight and rekeyed: who came, and what differs in those that were there; nothing of the others."""
    rows = {row["key"]: row for row in await client.views.diff("plane", hours(2), hours(7))}
    assert {key: row["change"] for key, row in rows.items()} == {"N1": "changed", "N2": "came"}
    assert [["at"], ["LAX"], ["ORD"]] in rows["N1"]["changes"]
    assert (rows["N1"]["from_version"], rows["N1"]["to_version"]) == (1, 3)
    came = {row["key"]: row["change"] for row in await client.views.diff("airports", hours(0), hours(2))}
    assert came == {"JFK": "came", "LAX": "came"}
    assert await client.views.diff("plane", hours(7), hours(9)) == []


async def test_folding_everything_again_gives_the_live_views(client: Client) -> None:
    """As of an instant after all events a view equals the live one wherever order does not matter."""
    live = await states(client, "carriers")
    assert {v["key"]: v["state"] async for v in client.views.list("carriers", as_of=hours(100))} == live


async def test_before_it_began_a_view_does_not_exist(client: Client) -> None:
    """Neither before its first event, nor without any stream."""
    for projection, key in (("plane", "N1"), ("airports", "LAX"), ("plane", "N77")):
        with pytest.raises(NotFound, match="at that instant"):
            await client.views.get(projection, key, as_of=hours(0))
