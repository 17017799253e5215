# SPDX-License-Identifier: Apache-2.0
"""Runs of sync over HTTP, with a real temporal on a real Kafka."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import pytest

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.errors import IdConflict, NervError, NotFound
from nerv.sync import DeletesUnconfirmed, LoadRefused, RunUnderWay

pytestmark = pytest.mark.asyncio(loop_scope="module")


PLANES = 8_000  # of a run that is killed: sixteen batches, so that there is a middle


class Collector(Protocol):
    """The fixture of this name."""

    spans: dict[str, list[tuple[str, str]]]
    kinds: dict[tuple[str, str], str]


def write(data: Path, name: str, planes: Mapping[str, int]) -> None:
    """The file of a source: tail numbers and seats, in place of the one before at once."""
    lines = ["tailnum,model,seats", *(f"{tail},A320,{seats}" for tail, seats in planes.items())]
    new = data / f"{name}.new"
    new.write_text("\n".join(lines) + "\n", encoding="utf-8")
    new.rename(data / f"{name}.csv")


async def events(client: Client, category: str) -> list[tuple[str, str, int]]:
    """Stream, type and version of every event of a category."""
    return [(e.stream, e.type, e.sequence or 0) async for e in client.streams.read_category(category)]


def fleet(count: int) -> dict[str, int]:
    """So many planes."""
    return {f"N{n:05d}": 100 + n % 90 for n in range(count)}


async def test_a_first_load_creates_a_second_changes_nothing_a_third_only_what_differs(
    client: Client, data: Path
) -> None:
    """Dry run, load, load again, then one plane changed, one gone and one new: exactly these three events."""
    write(data, "first", fleet(40))
    dry = await client.syncs.run("first", dry_run=True)
    assert (dry["status"], dry["summary"]) == ("planned", {"create": 40, "update": 0, "delete": 0, "unchanged": 0})
    assert dry["changes"][3] == {
        "side": "right",
        "action": "create",
        "key": "N00003",
        "before": None,
        "after": {"tailnum": "N00003", "model": "A320", "seats": "103"},
    }
    assert await events(client, "first") == []

    loaded = await client.syncs.run("first")
    assert (loaded["status"], loaded["outcomes"]["done"]) == ("done", 40)
    again = await client.syncs.run("first")
    assert again["summary"] == {"create": 0, "update": 0, "delete": 0, "unchanged": 40}

    planes = fleet(40) | {"N00007": 1, "N99999": 2}
    del planes["N00011"]
    write(data, "first", planes)
    dry = await client.syncs.run("first", dry_run=True)
    assert [(c["action"], c["key"]) for c in dry["changes"]] == [
        ("update", "N00007"),
        ("delete", "N00011"),
        ("create", "N99999"),
    ]
    assert dry["sides"] == {"left": "first", "right": "first"}
    third = await client.syncs.run("first")
    assert third["summary"] == {"create": 1, "update": 1, "delete": 1, "unchanged": 38}
    found = await events(client, "first")
    assert len(found) == 43
    assert {e for e in found if e[2] == 2} == {
        ("first-N00007", "first.updated.v1", 2),
        ("first-N00011", "first.removed.v1", 2),
    }
    listed = await client.syncs.runs("first")
    assert [run["status"] for run in listed] == ["done", "planned", "done", "done", "planned"]
    assert await client.syncs.show("first", third["run"]) == third


async def test_more_deletes_than_the_guard_allows_have_to_be_confirmed(client: Client, data: Path) -> None:
    """Three of ten are gone: refused and nothing changed; confirmed, they are removed; back again, they are created anew."""
    write(data, "guard", fleet(10))
    await client.syncs.run("guard")
    write(data, "guard", fleet(7))
    assert (await client.syncs.run("guard", dry_run=True))["needs_confirmation"]
    with pytest.raises(DeletesUnconfirmed, match="3 of 10"):
        await client.syncs.run("guard")
    assert len(await events(client, "guard")) == 10
    done = await client.syncs.run("guard", confirm_deletes=True)
    assert (done["summary"]["delete"], done["status"]) == (3, "done")
    write(data, "guard", fleet(10))
    back = await client.syncs.run("guard")
    assert back["summary"] == {"create": 3, "update": 0, "delete": 0, "unchanged": 7}
    assert [e[1] for e in await events(client, "guard") if e[0] == "guard-N00009"] == [
        "guard.created.v1",
        "guard.removed.v1",
        "guard.created.v1",
    ]


async def test_a_failed_load_changes_nothing(client: Client, data: Path) -> None:
    """Missing, empty, header only, cut short, double key: each is refused by name, and the streams stay as they were."""
    with pytest.raises(LoadRefused, match="no file"):
        await client.syncs.run("broken", confirm_deletes=True)
    write(data, "broken", fleet(10))
    await client.syncs.run("broken")
    before = await events(client, "broken")
    file = data / "broken.csv"
    for text, words in (
        ("", "empty"),
        ("tailnum,model,seats\n", "empty"),
        ("tailnum,model,seats\nN00001,A320,1", "cut short"),
        ("tailnum,model,seats\nN00001,A320\n", "line 2"),
        ("tailnum,model,seats\nN00001,A,1\nN00001,A,2\n", "line 3"),
        ("model,seats\nA320,1\n", "tailnum is missing"),
        ('tailnum,model,seats\nN00001,"A320,1\n', "CSV"),
    ):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(LoadRefused, match=words):
            await client.syncs.run("broken", confirm_deletes=True)
    assert await events(client, "broken") == before
    assert [run["status"] for run in await client.syncs.runs("broken")][:7] == ["refused"] * 7


async def test_a_repeated_order_gets_the_same_answer(client: Client, other: Client, data: Path) -> None:
    """Same key and options: the same document, from any replica; other options: refused; a refusal is repeated too."""
    write(data, "keys", fleet(5))
    first = await client.syncs.run("keys", run="monday")
    write(data, "keys", fleet(6))
    assert await client.syncs.run("keys", run="monday") == first
    assert await other.syncs.run("keys", run="monday") == first
    with pytest.raises(IdConflict):
        await client.syncs.run("keys", run="monday", dry_run=True)
    (data / "keys.csv").unlink()
    for replica in (client, other, client):
        with pytest.raises(LoadRefused, match="no file"):
            await replica.syncs.run("keys", run="tuesday")


async def test_two_orders_at_once_give_one_run_at_a_time(client: Client, other: Client, data: Path) -> None:
    """Two replicas are given six orders together: some run, the others are told so, and every plane is created once."""
    write(data, "race", fleet(2000))
    outcomes = await asyncio.gather(
        *((client, other)[n % 2].syncs.run("race") for n in range(6)), return_exceptions=True
    )
    assert all(isinstance(o, dict | RunUnderWay) for o in outcomes), outcomes
    assert any(isinstance(o, RunUnderWay) for o in outcomes)
    done = [o for o in outcomes if isinstance(o, dict)]
    assert sum(o["outcomes"]["done"] for o in done) == 2000
    assert all(o["status"] == "done" for o in done)
    assert len(await events(client, "race")) == 2000


async def test_the_same_order_at_two_replicas_is_one_run(client: Client, other: Client, data: Path) -> None:
    """An order that both replicas get together is performed once; both answer its document."""
    write(data, "twin", fleet(1500))
    one, two = await asyncio.gather(client.syncs.run("twin", run="same"), other.syncs.run("twin", run="same"))
    assert one == two
    assert one["outcomes"]["done"] == 1500
    assert len(await events(client, "twin")) == 1500


@pytest.mark.parametrize("by", ["the same replica, the same order", "the other replica, another order"])
async def test_a_run_that_is_killed_half_way_is_completed(
    mesh: LocalMesh, client: Client, other: Client, data: Path, by: str
) -> None:
    """kill -9 between two batches; the same order at the restarted replica, or a new one elsewhere: each change once."""
    same = by.startswith("the same")
    before = Counter(e[0] for e in await events(client, "kill"))
    planes = {tail: seats + (0 if same else 1000) for tail, seats in fleet(PLANES).items()}
    write(data, "kill", planes)
    run = by.replace(" ", "-").replace(",", "")
    ordered = asyncio.create_task(client.syncs.run("kill", run=run, seconds=90))
    await _until_begun(client, run)
    await mesh.kill("sync")
    if same:
        await mesh.restart("sync")
        document = await ordered
        assert document["attempt"] == 2
        begun, done = document["resumed"], document["outcomes"]["done"]
        assert done == PLANES
    else:
        ordered.cancel()
        await asyncio.wait({ordered})
        document = await _run_when_free(other, "kill")
        await mesh.restart("sync")
        begun = PLANES - document["outcomes"]["done"]
    assert document["status"] == "done"
    assert 0 < begun < PLANES, "the kill came too late or too early"
    after = Counter(e[0] for e in await events(client, "kill"))
    assert after == {f"kill-{tail}": before[f"kill-{tail}"] + 1 for tail in planes}
    assert (await other.syncs.run("kill", dry_run=True))["summary"]["unchanged"] == PLANES


async def _run_when_free(client: Client, sync: str) -> dict[str, Any]:
    """What was under way when a replica was killed may be written a moment later, and is taken for a sign of life."""
    async with asyncio.timeout(90):
        while True:
            try:
                return await client.syncs.run(sync, seconds=90)
            except RunUnderWay:
                await asyncio.sleep(0.1)


async def _until_begun(client: Client, run: str) -> None:
    """Until the outcomes of a batch of the run are recorded; those of later ones are not yet."""
    async with asyncio.timeout(60):
        while not await _recorded(client, run):  # noqa: ASYNC110 - another process writes
            await asyncio.sleep(0.005)


async def _recorded(client: Client, run: str) -> bool:
    try:
        return bool(await client.syncs.objects("kill", run, limit=1))
    except NotFound:
        return False


async def test_one_trace_goes_from_the_order_to_the_event(
    mesh: LocalMesh, client: Client, collector: Collector, data: Path
) -> None:
    """The trace of the request has spans of sync, which name the kind of objects, and of temporal; the event in history carries
    it on.
    """
    write(data, "trace", fleet(2))
    trace = uuid.uuid4().hex
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    async with (
        aiohttp.ClientSession(mesh.url("sync")) as http,
        http.post("/v1/syncs/trace/runs", data=b"{}", headers=headers) as answer,
    ):
        assert answer.status == 200
    found = [e.traceparent or "" async for e in client.streams.read_category("trace")]
    assert [text.split("-")[1] for text in found] == [trace, trace]
    wanted = {("sync", "sync run"), ("sync", "sync apply"), ("temporal", "POST /v1/streams")}
    async with asyncio.timeout(20):
        while not wanted <= set(collector.spans.get(trace, ())):  # noqa: ASYNC110 - other processes send them
            await asyncio.sleep(0.05)
    assert {collector.kinds[trace, f"sync {part}"] for part in ("plan", "apply")} == {"trace"}


async def test_a_first_load_has_the_size_of_the_demo(client: Client, data: Path) -> None:
    """4,800 rows are loaded, and compared again: nothing is left to do."""
    write(data, "big", fleet(4800))
    for created in (4800, 0):
        document = await client.syncs.run("big")
        assert document["summary"]["create"] == created
        assert document["truncated"] is (created > 0)


async def test_refusals_over_http_say_why(mesh: LocalMesh) -> None:
    """An unknown source or run, a bad body and a bad key: each its status, as a problem document."""
    async with aiohttp.ClientSession(mesh.url("sync")) as http:
        for method, path, body, key, status in (
            ("POST", "/v1/syncs/nothing/runs", "{}", "a", 404),
            ("GET", "/v1/syncs/nothing/runs", "", "a", 404),
            ("GET", "/v1/syncs/first/runs/never", "", "a", 404),
            ("POST", "/v1/syncs/first/runs", "{nonsense", "a", 400),
            ("POST", "/v1/syncs/first/runs", '{"dry_run": "yes"}', "a", 400),
            ("POST", "/v1/syncs/first/runs", '{"dryrun": true}', "a", 400),
            ("POST", "/v1/syncs/first/runs", "{}", "a/b", 400),
            ("POST", "/v1/syncs/first/runs", "[" * 40 + "]" * 40, "a", 413),
        ):
            async with http.request(method, path, data=body, headers={"idempotency-key": key}) as answer:
                problem = await answer.json(content_type="application/problem+json")
                assert (answer.status, problem["status"]) == (status, status), (path, body, problem)


async def test_the_sources_and_the_service_describe_themselves(client: Client) -> None:
    """`/v1/syncs` has every source with its latest run; `/.well-known/nerv` names the service."""
    rows = {row["sync"]: row for row in await client.syncs.list()}
    assert rows["unused"] == {
        "sync": "unused",
        "kind": "unused",
        "direction": "to-right",
        "identifiers": ["tailnum"],
        "approval": False,
        "schedule": None,
        "under": None,
        "source": "CsvSource",
        "reads": ["unused.csv"],
        "category": "unused",
        "latest": None,
    }
    assert (await client.about("sync"))["service"] == "sync"
    with pytest.raises(NotFound):
        await client.syncs.show("unused", "never")
    assert issubclass(RunUnderWay, NervError)
