# SPDX-License-Identifier: Apache-2.0
"""A rebuild beside what is live: built, compared, switched to and gone back from, while events come and readers read."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import orjson
import pytest
import pytest_asyncio
from confluent_kafka import Producer

from nerv.cancelling import end
from nerv.client import Client
from nerv.client.sse import subscription
from nerv.errors import Conflict, Gone, NotFound
from nerv.kafka import BatchConsumer, KafkaSettings
from nerv.state import Delta, freeze, thaw
from tests.integration.projector.feeding import Expected, Feed, make_trips
from tests.integration.projector.watching import SECONDS, check_all, projector_mesh, rows, settled, until

TRIPS = 3000

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Stage:
    """Two replicas, and what the views must say."""

    def __init__(self, client: Client, other: Client, feed: Feed, kafka: str, name: str) -> None:
        self.client, self.other, self.feed = client, other, feed
        self.kafka, self.name = kafka, name
        self.expected = Expected()
        self.flown = 0

    async def fly(self, count: int) -> None:
        """Append trips, and count them."""
        trips = make_trips(count, first=self.flown)
        await self.feed.trips(trips)
        self.expected.count(trips)
        self.flown += count

    async def ends(self) -> dict[int, int]:
        """Where each partition of history ends."""
        async with BatchConsumer(KafkaSettings(bootstrap_servers=self.kafka), "ends", "ends") as consumer:
            return {p: (await consumer.bounds((f"{self.name}.history.v1", p)))[1] for p in range(4)}

    async def ready(self, projection: str, number: int) -> None:
        """Until a version has caught up on the replica that is asked."""

        def caught_up(found: dict[str, dict[str, Any]]) -> bool:
            versions = found[projection]["control"]["versions"]
            return any(v["version"] == number and v["ready"] for v in versions)

        await until(self.client, caught_up)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(kafka: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """A mesh with two projectors that have folded all trips."""
    name = f"t{uuid.uuid4().hex[:8]}"
    mesh = projector_mesh(tmp_path_factory.mktemp("rebuild"), name, kafka, redis_url, replicas=2)
    async with (
        mesh,
        Feed(kafka, name) as feed,
        Client({"projector": mesh.url("projector")}) as client,
        Client({"projector": mesh.url("projector-2")}) as other,
    ):
        found = Stage(client, other, feed, kafka, name)
        await found.fly(TRIPS)
        await settled(client)
        yield found


@pytest.mark.parametrize("projection", ["plane", "carriers"])
async def test_a_version_is_built_beside_and_switched_to(stage: Stage, projection: str) -> None:
    """Straight and rekeyed: both say the same, the switch is seen by every replica, and every total is exact after it."""
    before = (await settled(stage.client))[projection]
    decided = await stage.client.projections.rebuild(projection)
    number = decided["building"]
    await stage.fly(200)
    await stage.ready(projection, number)
    await settled(stage.client)
    await agree(stage, projection)
    assert (await stage.client.projections.switch(projection))["live"] == number
    for client in (stage.client, stage.other):
        found = await until(client, lambda rows: rows[projection]["control"]["live"] == number)
        assert found[projection]["epoch"] != before["epoch"]
    await stage.fly(200)
    await settled(stage.client)
    await check_all(stage.client, stage.expected)
    await agree(stage, projection)  # the one before is folded on
    assert (await stage.client.projections.rollback(projection))["live"] == number - 1
    await check_all(stage.client, stage.expected)
    await stage.client.projections.release(projection)
    with pytest.raises(Conflict, match="none kept to go back to"):
        await stage.client.projections.rollback(projection)


async def test_what_is_in_a_transaction_is_missing_yet(stage: Stage) -> None:
    """What was committed and acknowledged a moment ago cannot be told from it: so a lag of 0 is the truth at any moment."""
    await settled(stage.client)
    writer = Producer({"bootstrap.servers": stage.kafka, "transactional.id": f"{stage.name}-open"})
    writer.init_transactions(SECONDS)
    writer.begin_transaction()
    writer.produce(f"{stage.name}.history.v1", b"not committed", partition=0)
    assert writer.flush(SECONDS) == 0
    assert (await rows(stage.client))["plane"]["lag"] == 1
    writer.abort_transaction(SECONDS)
    await settled(stage.client)


async def agree(stage: Stage, projection: str) -> None:
    """Until both versions say the same: each may have folded some events that the other has not yet."""
    async with asyncio.timeout(60):
        while not (report := await stage.client.projections.parity(projection))["equal"]:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.1)
    assert report["same"] > 0


async def test_a_cursor_pages_through_the_version_it_began_with(stage: Stage) -> None:
    """Across a switch, or it is refused once that version is gone; never a page of the other one."""

    async def page(cursor: str | None) -> dict[str, Any]:
        query = {"limit": 10, "cursor": cursor}
        answer = await stage.client.transport.request(
            "projector", "GET", "/v1/views/carriers", query=query | {"limit": 1}
        )
        document: dict[str, Any] = answer.json()
        return document

    number = (await stage.client.projections.rebuild("carriers"))["building"]
    first = await page(None)
    await stage.ready("carriers", number)
    await settled(stage.client)
    await stage.client.projections.switch("carriers")
    second = await page(first["next"])
    assert [view["key"] for view in first["views"] + second["views"]] == ["AA", "B6"]
    await stage.client.projections.release("carriers")
    with pytest.raises(Gone, match="begin with the first page"):
        await page(first["next"])


async def test_a_paused_projection_stands_still_and_goes_on(stage: Stage) -> None:
    """Reads go on; the lag grows; after resuming every total is exact."""
    await stage.client.projections.pause("plane")
    await stage.fly(100)
    found = await until(stage.client, lambda rows: rows["plane"]["lag"] and rows["carriers"]["lag"] == 0)
    assert found["plane"]["control"]["paused"] is True
    assert (await stage.client.views.get("plane", "N7"))["key"] == "N7"
    await stage.client.projections.resume("plane")
    await settled(stage.client)
    await check_all(stage.client, stage.expected)


async def test_a_reader_who_names_a_position_sees_all_up_to_it(stage: Stage) -> None:
    """At once after each append, on another replica, straight and rekeyed."""
    await settled(stage.client)
    planes = (await stage.client.views.get("plane", "N7"))["version"]
    for turn in range(1, 6):
        await stage.fly(50)  # each plane once
        wanted = {"min_position": ",".join(f"{p}:{end - 1}" for p, end in (await stage.ends()).items())}
        for projection, key, version in (
            ("plane", "N7", planes + turn),
            ("airports", "JFK", stage.expected.airports["JFK"]),
        ):
            path = f"/v1/views/{projection}/{key}"
            found = await stage.other.transport.request("projector", "GET", path, query=wanted)
            assert found.json()["version"] == version


async def test_a_reader_that_comes_back_misses_nothing_and_gets_nothing_twice(stage: Stage) -> None:
    """By the id of the last event, on another replica: deltas from there on, and no view; by an unknown id the view."""
    await settled(stage.client)
    path, query = "/v1/projections/plane/changes", {"keys": "N7"}

    async def follow(client: Client, after: str | None, to: int) -> list[dict[str, str]]:
        """The events up to the one that leads to a version."""
        found = []
        async with asyncio.timeout(60):
            async with aclosing(subscription(client.transport, "projector", path, query, after)) as events:
                async for fields in events:
                    found.append(fields)
                    document = orjson.loads(fields["data"])
                    if document.get("to_version", document.get("version")) >= to:
                        return found
        raise AssertionError("the stream ended")

    start = (await stage.client.views.get("plane", "N7"))["version"]
    first = await follow(stage.client, None, start)
    assert [fields["event"] for fields in first] == ["view"]
    await stage.fly(200)
    await settled(stage.client)
    wanted = (await stage.client.views.get("plane", "N7"))["version"]
    missed = await follow(stage.other, first[-1]["id"], wanted)
    version = start
    for fields in missed:
        delta = orjson.loads(fields["data"])
        assert (fields["event"], delta["from_version"]) == ("delta", version)
        version = delta["to_version"]
    assert version == wanted > start
    for unknown in (first[-1]["id"].replace(":", ":9999999"), "another|0:0"):
        assert [fields["event"] for fields in await follow(stage.client, unknown, wanted)] == ["view"]


async def test_a_decision_that_does_not_fit_is_refused(stage: Stage) -> None:
    """With what to do."""
    with pytest.raises(Conflict, match="none being built"):
        await stage.client.projections.switch("airports")
    with pytest.raises(NotFound, match="no projection 'nothing'"):
        await stage.client.projections.pause("nothing")


async def test_a_reader_that_follows_sees_every_change_and_a_switch(stage: Stage) -> None:
    """The view, then deltas that lead to the next one, from any replica; after a switch the view of the other version."""
    seen: list[tuple[str, dict[str, Any]]] = []
    seen_shown: list[dict[str, Any]] = []
    await settled(stage.client)

    async def follow(client: Client) -> None:
        async for kind, document in client.views.follow("plane", ["N7", "N9999"]):
            seen.append((kind, document))

    async def watch(client: Client) -> None:
        async for _, document in client.views.follow("plane", ["N7"], perspective="passenger"):
            seen_shown.append(document)

    async def until_seen(met: Any) -> None:
        async with asyncio.timeout(60):
            while not met():  # noqa: ASYNC110 - the reader tells nobody
                await asyncio.sleep(0.02)

    tasks = [asyncio.create_task(follow(stage.client)), asyncio.create_task(watch(stage.other))]
    try:
        await until_seen(lambda: len(seen) == 2 and seen_shown)
        assert [kind for kind, _ in seen] == ["view", "gone"]
        state, version = freeze(seen[0][1]["state"]), seen[0][1]["version"]
        await stage.fly(200)
        wanted = (await settled(stage.client) and await stage.client.views.get("plane", "N7"))["version"]
        assert wanted > version
        await until_seen(lambda: seen[-1][1].get("to_version") == wanted and seen_shown[-1]["version"] == wanted)
        for kind, document in seen[2:]:
            assert (kind, document["from_version"]) == ("delta", version)
            state = Delta.from_bytes(orjson.dumps(document["changes"])).apply(state)
            version = document["to_version"]
        assert thaw(state) == (await stage.client.views.get("plane", "N7"))["state"]
        assert (
            seen_shown[-1]["state"] == (await stage.client.views.get("plane", "N7", perspective="passenger"))["state"]
        )
        number = (await stage.client.projections.rebuild("plane"))["building"]
        await stage.ready("plane", number)
        await stage.client.projections.switch("plane")
        epoch = next(
            v["epoch"] for v in (await stage.client.projections.get("plane"))["versions"] if v["version"] == number
        )
        await until_seen(lambda: any(kind == "view" and d["epoch"] == epoch for kind, d in seen))
    finally:
        for task in tasks:
            await end(task)
