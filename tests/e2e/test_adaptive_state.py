# SPDX-License-Identifier: Apache-2.0
"""Adaptive state management whole: temporal store, perspectives, projector and synchronizer in one flow."""

import asyncio
import os
import sqlite3
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.errors import NotFound
from nerv.protocols import Appended, AppendRequest
from nerv.types import Event, new_event_id, utc_now

pytestmark = pytest.mark.asyncio(loop_scope="module")

APPS = Path(__file__).parent.parent / "apps"
CREATE = "CREATE TABLE planes (tailnum TEXT PRIMARY KEY, model TEXT, seats INTEGER, version INTEGER NOT NULL DEFAULT 1)"
NERV = Path(sys.executable).with_name("nerv")
SECONDS = 60.0


class Desk:
    """The people at the desk, with a table of their own."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.run(CREATE)

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """One statement in one transaction."""
        with closing(sqlite3.connect(self.file, timeout=30)) as db, db:
            return db.execute(statement, values).fetchall()

    def rows(self) -> dict[str, dict[str, Any]]:
        """What the table holds, as the perspective shows planes."""
        found = self.run("SELECT tailnum, model, seats FROM planes")
        return {tail: {"tailnum": tail, "model": model, "seats": seats} for tail, model, seats in found}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """The desk."""
    return Desk(tmp_path_factory.mktemp("desk") / "desk.db")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(
    kafka: str, redis_url: str, desk: Desk, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LocalMesh]:
    """What runs."""
    async with LocalMesh(
        app="adaptive:app",
        services=["temporal", "projector", "sync"],
        folder=tmp_path_factory.mktemp("adaptive") / ".nerv",
        mesh=f"t{uuid.uuid4().hex[:8]}",
        kafka=kafka,
        redis=redis_url,
        env={"PYTHONPATH": str(APPS), "DESK_DATABASE": str(desk.file)},
    ) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(mesh: LocalMesh) -> AsyncIterator[Client]:
    """All services."""
    urls = {name: mesh.url(name) for name in ("temporal", "projector", "sync")}
    async with Client(urls) as client:
        yield client


async def paint(client: Client, tail: str, version: int, **values: Any) -> None:
    """Somebody in the field records in history what he has done."""
    data = orjson.dumps({"tailnum": tail, **values})
    event = Event(new_event_id(), "field", "plane.updated.v1", utc_now(), data)
    [outcome] = await client.streams.append([AppendRequest(f"plane-{tail}", [event])])
    assert isinstance(outcome, Appended)
    assert outcome.last_version == version


async def view(client: Client) -> dict[str, Any]:
    """What everybody sees, once the view has come as far as history."""
    async with asyncio.timeout(SECONDS):
        while any(row["lag"] != 0 for row in await client.views.projections()):  # noqa: ASYNC110 - others work
            await asyncio.sleep(0.05)
    return {row["key"]: row["state"] async for row in client.views.list("plane", perspective="public")}


async def test_desk_history_and_view_follow_each_other(client: Client, mesh: LocalMesh, desk: Desk) -> None:
    """What the desk writes is in history and in the view; what history is told comes to the desk; where both have spoken, the
    strategy, or a person on the command line decides; what was overruled is in the journal, and what was so can be seen still.
    """
    for tail, model, seats in (("N1", "737", 149), ("N2", "737", 149), ("N3", "A320", 180)):
        desk.run("INSERT INTO planes (tailnum, model, seats) VALUES (?, ?, ?)", tail, model, seats)
    first = await client.syncs.run("desk")
    assert (first["status"], first["summary"]["create"]) == ("done", 3)
    assert await view(client) == desk.rows()

    await paint(client, "N1", 2, model="737-800", seats=149)
    await paint(client, "N2", 2, model="737", seats=160)
    desk.run("UPDATE planes SET seats = 150, version = version + 1 WHERE tailnum = 'N2'")
    await paint(client, "N3", 2, model="A321", seats=180)
    desk.run("UPDATE planes SET model = 'A319', version = version + 1 WHERE tailnum = 'N3'")
    second = await client.syncs.run("desk")
    assert (second["status"], second["losses"], second["asked"]) == ("done", 1, ["N3"])
    assert desk.rows()["N1"]["model"] == "737-800"
    seen = await view(client)
    assert (seen["N2"]["seats"], seen["N3"]["model"]) == (150, "A321")
    [lost] = await client.syncs.losses("desk")
    assert (lost["side"], lost["key"], lost["field"], lost["lost"], lost["kept"]) == ("right", "N2", "seats", 160, 150)

    [waiting] = orjson.loads(await nerv(mesh, "sync", "conflicts", "list", "desk", "--json"))
    assert (waiting["key"], waiting["left"]["model"], waiting["right"]["model"]) == ("N3", "A319", "A321")
    await nerv(mesh, "sync", "conflicts", "decide", "desk", waiting["conflict"], "left")
    plan = orjson.loads(await nerv(mesh, "sync", "plan", "desk", "--json"))
    assert [(c["side"], c["key"], c["after"]["model"]) for c in plan["changes"]] == [("right", "N3", "A319")]
    assert b"not approved" in await nerv(mesh, "sync", "show", "desk", plan["plan"])
    await nerv(mesh, "sync", "approve", "desk", plan["plan"])
    assert b"done" in await nerv(mesh, "sync", "apply", "desk", plan["plan"])
    assert b"planned" in await nerv(mesh, "sync", "history", "desk")
    assert await view(client) == desk.rows()

    history = [event.sequence async for event in client.streams.read("plane-N3")]
    assert history == [1, 2, 3]
    then = await client.streams.state("plane-N3", projection="plane", version=2)
    assert (then["state"]["model"], then["state"]["writes"]) == ("A321", 2)
    agreed = [orjson.loads(event.data)["model"] async for event in client.streams.read("agreed.desk-N3")]
    assert agreed == ["A320", "A319"]

    desk.run("DELETE FROM planes WHERE tailnum = 'N1'")
    third = await client.syncs.run("desk", confirm_deletes=True)
    assert third["summary"]["delete"] == 1
    assert set(await view(client)) == {"N2", "N3"}
    with pytest.raises(NotFound):
        await client.views.get("plane", "N1", perspective="public")
    assert (await client.syncs.run("desk", verify=True))["changes"] == []


async def nerv(mesh: LocalMesh, *words: str) -> bytes:
    """What a command answers; that it succeeds."""
    process = await asyncio.create_subprocess_exec(
        str(NERV), *words, cwd=mesh.folder.parent, env={**os.environ, "COLUMNS": "160"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, error = await process.communicate()
    assert process.returncode == 0, error.decode()
    return out
