# SPDX-License-Identifier: Apache-2.0
"""The views of a real projector as a side of a sync."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Mapping
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.errors import Conflict, Invalid, NotFound, Unavailable
from nerv.protocols import AppendRequest
from nerv.protocols.history import Appended
from nerv.protocols.side import Action, Entity, Side
from nerv.sync.canonical import canonical
from nerv.sync.sides.projection import ProjectionSide
from nerv.testing.contracts.side import Make, SideContract, rows, step, value_of
from nerv.types import Event, new_event_id, utc_now
from tests.integration.sync.things import COUNT

HERE = Path(__file__).parent

pytestmark = pytest.mark.asyncio(loop_scope="module")
numbers = count()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(kafka: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """A mesh that folds things."""
    mesh = LocalMesh(
        app="things:app",
        services=["temporal", "projector"],
        folder=tmp_path_factory.mktemp("things") / ".nerv",
        mesh=f"t{uuid.uuid4().hex[:8]}",
        kafka=kafka,
        redis=redis_url,
        env={"PYTHONPATH": str(HERE)},
    )
    async with mesh, Client({name: mesh.url(name) for name in ("temporal", "projector")}) as client:
        yield client


async def tell(client: Client, category: str, values: Mapping[str, int]) -> None:
    """Append an event for each of these things."""
    requests = []
    for row in rows(values):
        data = canonical({name: value for name, value in row.items() if name != "double"})
        event = Event(new_event_id(), "test", f"{category}.told.v1", utc_now(), data)
        requests.append(AppendRequest(f"{category}-{row['key']}", [event]))
    for outcome in await client.streams.append(requests):
        assert isinstance(outcome, Appended)


async def side_of(client: Client, values: Mapping[str, int]) -> ProjectionSide:
    """A side over a projection that no other test uses, of these things."""
    number = next(numbers)
    assert number < COUNT, "declare more projections in things.py"
    await tell(client, f"thing{number}", values)
    return ProjectionSide(client.views, f"thing{number}", perspective="things", history=client.streams)


class TestProjectionSide(SideContract):
    """A perspective of a projection, with the feed of its history."""

    @pytest.fixture
    def make(self, client: Client) -> Make:
        """A projection of its own."""

        async def made(values: Mapping[str, int]) -> Side:
            return await side_of(client, values)

        return made


async def test_what_changes_in_history_is_told_once_the_views_show_it(client: Client) -> None:
    """Its key alone; what is fetched then is the new view. Another epoch of the projection is another feed."""
    side = await side_of(client, {"a": 1, "b": 2})
    start = await side.changes(None)
    assert start is not None
    await tell(client, side.name, {"b": 20, "c,d": 30})
    told = await side.changes(start.position)
    assert told is not None
    assert sorted(told.keys) == ["b", "c,d"]
    assert [value_of(entity) for entity in await side.fetch(["a", "b", "c,d"])] == [1, 20, 30]
    await client.projections.rebuild(side.name, version=2)
    async with asyncio.timeout(60):
        while (await client.projections.get(side.name))["live"] != 2:
            with contextlib.suppress(Conflict, Unavailable):  # it is not ready yet
                await client.projections.switch(side.name, version=2)
            await asyncio.sleep(0.05)  # another process builds
        while await side.changes(told.position) is not None:  # noqa: ASYNC110 - another process switches
            await asyncio.sleep(0.05)


async def test_a_view_is_not_written_and_an_unknown_projection_is_said_so(client: Client) -> None:
    """What to do instead is said, too."""
    side = ProjectionSide(client.views, "nothing", history=client.streams)
    assert isinstance((await side.write([step(Action.CREATE, Entity("b", None), 1)]))[0], Invalid)
    with pytest.raises(NotFound, match="nothing"):
        await side.changes(None)
