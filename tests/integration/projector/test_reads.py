# SPDX-License-Identifier: Apache-2.0
"""What the projector folds of real history, and how it answers."""

import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from nerv.client import Client
from nerv.errors import Invalid, NotFound
from tests.integration.projector.feeding import AIRPORTS, Expected, Feed, make_trips
from tests.integration.projector.watching import PROJECTIONS, check_all, projector_mesh, settled

TRIPS = 3000

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def expected() -> Expected:
    """What the views must say."""
    found = Expected()
    found.count(make_trips(TRIPS))
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(kafka: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """A projector that has folded all trips."""
    folder = tmp_path_factory.mktemp("projector")
    name = f"t{uuid.uuid4().hex[:8]}"
    mesh = projector_mesh(folder, name, kafka, redis_url)
    async with mesh, Feed(kafka, name) as feed, Client({"projector": mesh.url("projector")}) as client:
        await feed.trips(make_trips(TRIPS))
        await feed.events("trip.noted.v1", [("plane-N0", {"text": "nothing to fold"})])
        await settled(client)
        yield client


async def test_every_total_is_right(client: Client, expected: Expected) -> None:
    """Straight and rekeyed projections agree with a count by other code."""
    await check_all(client, expected)


async def test_a_view_says_how_many_events_it_holds(client: Client, expected: Expected) -> None:
    """The version is the number of events folded, for an airport both ends of a trip."""
    view = await client.views.get("airports", "JFK")
    assert view["version"] == expected.airports["JFK"]
    assert (view["projection"], view["key"], view["perspective"], view["as_of"]) == ("airports", "JFK", None, None)


async def test_a_perspective_shows_its_fields_alone(client: Client, expected: Expected) -> None:
    """Declared and computed fields of the same state."""
    at, _, minutes = expected.planes["N7"]
    view = await client.views.get("plane", "N7", perspective="passenger")
    assert view["state"] == {"at": at, "minutes": minutes, "hours": minutes / 60}
    listed = [v["state"] async for v in client.views.list("plane", perspective="passenger") if v["key"] == "N7"]
    assert listed == [view["state"]]
    some = await client.views.get("plane", "N7", perspective="passenger", fields=("hours", "at"))
    assert some["state"] == {"at": at, "hours": minutes / 60}
    pages = [v["state"] async for v in client.views.list("plane", perspective="passenger", fields=("at",))]
    assert {"at": at} in pages
    assert all(state.keys() == {"at"} for state in pages)


async def test_pages_hold_every_view_once(client: Client, expected: Expected) -> None:
    """In order of the keys, whatever the size of a page."""
    found: list[str] = []
    cursor = None
    while True:
        query = {"limit": 7, "cursor": cursor}
        page = (await client.transport.request("projector", "GET", "/v1/views/plane", query=query)).json()
        assert len(page["views"]) <= 7
        found += [view["key"] for view in page["views"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == sorted(expected.planes)


async def test_views_are_found_by_what_is_in_them(client: Client, expected: Expected) -> None:
    """By an expression over the states, in order of another."""
    wanted = sorted((minutes, key) for key, (at, _, minutes) in expected.planes.items() if at == "JFK")
    found = await client.views.find("plane", "at == 'JFK'", order="minutes", limit=3)
    assert [(view["state"]["minutes"], view["key"]) for view in found] == wanted[:3]
    with pytest.raises(Invalid, match="no JMESPath"):
        await client.views.find("plane", "at ==")


async def test_views_are_found_by_an_index(client: Client, expected: Expected) -> None:
    """In order of its values, as far as they are asked for; another one is refused with those that there are."""
    minutes = sorted((minutes, key) for key, (_, _, minutes) in expected.planes.items())
    low, high = minutes[5][0], minutes[20][0]
    found = [v["key"] async for v in client.views.by_index("plane", "minutes", low=low, high=high, descending=True)]
    assert found == [key for value, key in reversed(minutes) if low <= value <= high]
    at = [v["key"] async for v in client.views.by_index("plane", "at", equals="JFK", where="minutes > `0`")]
    assert at == sorted(key for key, (place, _, _) in expected.planes.items() if place == "JFK")
    with pytest.raises(Invalid, match=r"no index 'gate'; it has at \(text\), minutes \(number\)"):
        [v async for v in client.views.by_index("plane", "gate")]


async def test_a_reader_sees_what_he_has_written(client: Client) -> None:
    """A position that history has is waited for; what was read before is not sent again."""
    path = "/v1/views/airports/JFK"
    first = await client.transport.request("projector", "GET", path, query={"min_position": "0:0,1:0,2:0,3:0"})
    assert first.json()["key"] == "JFK"
    for wrong in ("0", "a:1", "9:1"):
        with pytest.raises(Invalid, match="min_position"):
            await client.transport.request("projector", "GET", path, query={"min_position": wrong})


async def test_projections_say_how_far_they_are(client: Client) -> None:
    """Lag 0 over all hops, the events folded (an airport counts a trip twice), the entities."""
    rows = {row["projection"]: row for row in await client.views.projections()}
    assert rows.keys() == set(PROJECTIONS)
    assert {name: (row["lag"], row["folded"], row["entities"]) for name, row in rows.items()} == {
        "plane": (0, TRIPS, 50),
        "airports": (0, 2 * TRIPS, len(AIRPORTS)),
        "carriers": (0, TRIPS, 3),
    }
    assert [rows[name]["source"] for name in PROJECTIONS] == ["history", "rekeyed", "rekeyed"]
    assert all(row["ready"] and row["fault"] is None for row in rows.values())


async def test_the_service_describes_itself(client: Client) -> None:
    """What it reads, writes and owns."""
    document = await client.about("projector")
    assert document["service"] == "projector"
    assert document["owns"] == [0, 1, 2, 3]
    assert len(document["reads"]) == 4


@pytest.mark.parametrize(
    ("path", "error", "says"),
    [
        ("nothing/N7", NotFound, "no projection 'nothing'; it has airports, carriers, plane"),
        ("nothing", NotFound, "no projection"),
        ("plane/N9999", NotFound, "no view of 'N9999'"),
        ("plane/N7?perspective=pilot", NotFound, "no perspective 'pilot'; it has passenger"),
        ("plane/N7?as_of=yesterday", Invalid, "as_of 'yesterday' is not an RFC 3339 instant"),
        ("plane/N7?as_of=2013-01-01T00:00:00", Invalid, "lacks an offset"),
        ("plane/N7?known_at=13", Invalid, "known_at '13'"),
        ("plane/N7?as_of=2013-01-01T00:00:00Z&as_of=2013-01-01T00:00:00Z", Invalid, "given 2 times"),
        ("plane/N7?fields=at", Invalid, "fields are those of a perspective"),
        (
            "plane/N7?perspective=passenger&fields=at,pilot",
            Invalid,
            "no field 'pilot'; it has at, minutes, hours",
        ),
        ("plane/N7?perspective=passenger&fields=", Invalid, "no field ''"),
        ("plane?limit=0", Invalid, "limit must be a whole number"),
        ("plane?cursor=%25", Invalid, "cursor must be"),
    ],
)
async def test_what_is_wrong_is_said(client: Client, path: str, error: type[Exception], says: str) -> None:
    """Each mistake has its own answer, which says what would be right."""
    name, _, query = path.partition("?")
    with pytest.raises(error, match=says.replace("(", r"\(")):
        await client.transport.request("projector", "GET", f"/v1/views/{name}{'?' + query if query else ''}")
