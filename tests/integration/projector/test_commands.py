# SPDX-License-Identifier: Apache-2.0
"""`nerv projections` and `nerv view` as people type them, against a projector: what they say, and the code they end with."""

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from typer.testing import CliRunner, Result

from nerv.cli.main import app
from nerv.client import Client
from tests.integration.projector.feeding import START, Feed, make_trips
from tests.integration.projector.trips import POISON
from tests.integration.projector.watching import projector_mesh, settled, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

TRIPS = 2000


@dataclass
class Stage:
    """A projector that has folded all trips, and the command line beside it."""

    client: Client
    feed: Feed
    folder: Path

    async def nerv(self, *words: str, code: int = 0) -> Result:
        """Run a command in the mesh's folder; it must end with this code."""

        def run() -> Result:
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(self.folder)
                patch.setenv("COLUMNS", "200")
                return CliRunner().invoke(app, list(words))

        ended = await asyncio.to_thread(run)
        assert ended.exit_code == code, (words, ended.output, ended.exception)
        return ended

    async def json(self, *words: str, code: int = 0) -> Any:
        """The document that a command prints."""
        return json.loads((await self.nerv(*words, "--json", code=code)).stdout)

    async def text(self, *words: str, code: int = 0) -> str:
        """What a command prints for people, in one line."""
        ended = await self.nerv(*words, code=code)
        return re.sub(r"[\s│┃]+", " ", ended.output)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(kafka: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """The mesh in a folder, as `nerv dev` leaves it."""
    folder, name = tmp_path_factory.mktemp("commands"), f"t{uuid.uuid4().hex[:8]}"
    mesh = projector_mesh(folder, name, kafka, redis_url)
    async with mesh, Feed(kafka, name) as feed, Client({"projector": mesh.url("projector")}) as client:
        await feed.trips(make_trips(TRIPS))
        await settled(client)
        yield Stage(client, feed, folder)


async def test_all_of_them_are_listed_with_where_they_stand(stage: Stage) -> None:
    """For people a line each; for programs all that is known."""
    said = await stage.text("projections", "list")
    assert re.search(r"carriers 1 ok 0 0\.00 [\d.,]+ 2,000 3 0 \d+", said), said
    rows = (await stage.json("projections", "list"))["projections"]
    assert [row["projection"] for row in rows] == ["plane", "airports", "carriers"]
    assert all(row["size"] > 0 and sum(p["lag"] for p in row["partitions"]) == 0 for row in rows)


async def test_one_is_shown_with_its_partitions_and_versions(stage: Stage) -> None:
    """Its positions, and what can be asked of it; one that is not there is named with those that are."""
    said = await stage.text("projections", "show", "plane")
    for wanted in (r"1 live yes 100 ", r"plane 1 ok 0", r"indexes: at, minutes", r"perspectives: passenger"):
        assert re.search(wanted, said), said
    found = await stage.json("projections", "show", "plane")
    assert [p["partition"] for p in found["now"]["partitions"]] == [0, 1, 2, 3]
    assert sum(p["position"] for p in found["now"]["partitions"]) >= TRIPS
    assert "it has airports, carriers, plane" in await stage.text("projections", "show", "nothing", code=1)


async def test_the_fingerprint_of_the_code_is_told(stage: Stage) -> None:
    """Of the code now, and of each version."""
    found = await stage.json("projections", "fingerprint", "plane")
    assert found["versions"] == [{"version": 1, "fingerprint": found["fingerprint"], "changed": False}]
    assert found["fingerprint"][:20] in await stage.text("projections", "fingerprint", "plane")


async def test_a_rebuild_is_compared_switched_to_and_gone_back_from(stage: Stage) -> None:
    """With a bar; each step says what stands then, and what cannot be done says why."""
    assert "there is none being built" in await stage.text("projections", "switch", "plane", code=1)
    said = await stage.text("projections", "rebuild", "plane")
    assert re.search(
        r"plane, version 2 .* 100% .*50 0 0 0 .*version 2 is live; back: nerv projections rollback plane", said
    )
    assert (await stage.json("projections", "rollback", "plane"))["live"] == 1
    assert (await stage.json("projections", "parity", "plane"))["equal"] is True
    assert (await stage.json("projections", "release", "plane"))["previous"] is None
    assert "one version only" in await stage.text("projections", "parity", "plane", code=1)
    built = await stage.json("projections", "rebuild", "plane", "--no-switch")
    assert (built["built"], built["switched"]) == (3, False)
    again = await stage.json("projections", "rebuild", "plane", "--no-switch")  # as after Ctrl-C
    assert again["built"] == 3
    assert "cancel it first" in await stage.text("projections", "reset", "plane", "--to", "2013-01-02T00:00Z", code=1)
    assert (await stage.json("projections", "cancel", "plane"))["building"] is None


async def test_a_projection_is_paused_and_resumed(stage: Stage) -> None:
    """And the list says so."""
    assert "paused" in await stage.text("projections", "pause", "carriers")
    assert re.search(r"carriers 1 paused", await stage.text("projections", "list"))
    assert (await stage.json("projections", "resume", "carriers"))["paused"] is False


async def test_a_key_that_is_parked_goes_on_without_the_event_that_is_skipped(stage: Stage) -> None:
    """It is listed, and counted by its partition; skipped, what came behind it is folded, and a rebuild says the same."""
    trip = {**make_trips(1)[0], "plane": "X1"}
    await stage.feed.trips([{**trip, "minutes": POISON}, {**trip, "minutes": 2}])
    await until(stage.client, lambda rows: rows["plane"]["parked"] == 1 and rows["plane"]["lag"] == 0)
    assert "parked: later events are not in it" in await stage.text("view", "plane", "X1")
    [parked] = (await stage.json("projections", "parked", "plane"))["parked"]
    assert (parked["key"], parked["cause"]) == ("X1", "ValueError: thirteen minutes")
    [row] = [row for row in (await stage.client.views.projections()) if row["projection"] == "plane"]
    assert [part["partition"] for part in row["partitions"] if part["parked"]] == [parked["partition"]]
    assert sum(part["size"] for part in row["partitions"]) == row["size"]
    assert (await stage.json("projections", "skip", "plane", parked["event"]))["skipped"]
    await until(stage.client, lambda rows: rows["plane"]["parked"] == 0)
    assert (await stage.json("view", "plane", "X1"))["state"]["minutes"] == 2
    done = await stage.json("projections", "rebuild", "plane")
    assert done["switched"]


async def test_a_rebuild_that_says_something_else_waits_for_a_decision(stage: Stage) -> None:
    """One that folds nothing from before now: the report counts the keys, and exit 1 says that nothing was switched."""
    said = await stage.text("projections", "rebuild", "plane", "--since", "now", code=1)
    assert re.search(r"is not live yet: nerv projections switch plane, or nerv projections cancel plane", said)
    assert re.search(r"parity .*0 0 51 0", said), said  # only the live version has the keys
    assert (await stage.json("projections", "cancel", "plane"))["building"] is None
    done = await stage.json("projections", "rebuild", "plane", "--since", "now", "--accept-differences")
    assert done["switched"]
    await stage.json("projections", "rollback", "plane")


async def test_a_projection_begins_anew_at_an_instant(stage: Stage) -> None:
    """What was recorded before it is not folded; of these trips all was, in the year 2013, but Kafka wrote them down today."""
    await stage.json("projections", "release", "plane")
    done = await stage.json("projections", "reset", "carriers", "--to", START.isoformat())
    assert done["switched"]
    assert done["parity"]["equal"]
    none = await stage.json("projections", "reset", "carriers", "--to", "now")
    assert none["switched"]
    assert none["parity"]["only_live"] == 3
    assert await stage.text("view", "carriers") == "carriers: there are no such views "
    assert (await stage.json("projections", "rollback", "carriers"))["live"] == done["built"]


async def test_views_are_listed_by_an_index_and_by_what_they_are(stage: Stage) -> None:
    """In order; what does not go together is said before anything is sent."""
    lines = (await stage.nerv("view", "plane", "--index", "minutes", "--descending", "--limit", "3", "--json")).stdout
    minutes = [json.loads(line)["state"]["minutes"] for line in lines.splitlines()]
    assert len(minutes) == 3
    assert minutes == sorted(minutes, reverse=True)
    listed = await stage.text("view", "plane", "--index", "at", "--equals", "JFK")
    assert "JFK" in listed
    assert "EWR" not in listed
    assert "3 shown" in await stage.text(
        "view", "plane", "--where", "at == 'JFK'", "--order", "minutes", "--limit", "3"
    )
    assert "name it: --index" in await stage.text("view", "plane", "--equals", "JFK", code=2)
    assert "it has at (text), minutes (number)" in await stage.text("view", "plane", "--index", "gate", code=1)
