# SPDX-License-Identifier: Apache-2.0
"""Projectors that are killed, joined by others, robbed of their views, or fed poison: the totals stay exact."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.kafka import BatchConsumer, KafkaSettings
from nerv.redis import RedisSettings, connect
from tests.integration.projector.feeding import Expected, Feed, make_trips
from tests.integration.projector.trips import POISON
from tests.integration.projector.watching import POLL, SECONDS, check_all, projector_mesh, rows, settled, until

TRIPS = 12_000


@dataclass
class Stage:
    """A mesh, a feed of history, a client, and what the views must say."""

    mesh: LocalMesh
    feed: Feed
    client: Client
    expected: Expected

    async def fly(self, count: int, first: int = 0) -> None:
        """Append trips, and count them."""
        trips = make_trips(count, first=first)
        await self.feed.trips(trips)
        self.expected.count(trips)


@asynccontextmanager
async def staged(folder: Path, name: str, kafka: str, redis: str, **more: Any) -> AsyncIterator[Stage]:
    """The stage of a test; small batches, so that there is a middle to be killed in."""
    mesh = projector_mesh(folder, name, kafka, redis, batch=200, **more)
    async with mesh, Feed(kafka, name) as feed, Client({"projector": mesh.url("projector")}) as client:
        yield Stage(mesh, feed, client, Expected())


def in_the_middle(found: dict[str, dict[str, Any]]) -> bool:
    """Every projection has begun, and not all are done."""
    return all((row["folded"] or 0) > 500 for row in found.values()) and any(row["lag"] for row in found.values())


async def test_killed_in_the_middle_it_goes_on_where_it_was(
    tmp_path: Path, mesh_name: str, kafka: str, redis_url: str
) -> None:
    """After kill -9 between any two lines and a restart every total is exact."""
    async with staged(tmp_path, mesh_name, kafka, redis_url) as stage:
        await stage.fly(TRIPS)
        before = await until(stage.client, in_the_middle)
        await stage.mesh.kill("projector")
        await stage.mesh.restart("projector")
        after = await settled(stage.client)
        assert {name: row["epoch"] for name, row in after.items()} == {n: row["epoch"] for n, row in before.items()}
        await check_all(stage.client, stage.expected)


async def test_two_replicas_share_and_take_over(tmp_path: Path, mesh_name: str, kafka: str, redis_url: str) -> None:
    """Two share the partitions; when one is killed in the middle the other takes its half, and every total is exact.

    What comes is counted all the while, and that half alone is said to have moved; when the other is back, what it takes.
    """
    async with staged(tmp_path, mesh_name, kafka, redis_url, replicas=2) as stage:
        await until(stage.client, lambda found: all(len(row["owns"]) == 2 for row in found.values()))
        owners = await shared(stage.client, 2)
        await stage.fly(TRIPS)
        await until(stage.client, in_the_middle)
        await stage.mesh.kill("projector-2")
        await stage.fly(1000, first=TRIPS)
        found = await settled(stage.client)
        assert all(row["owns"] == [0, 1, 2, 3] for row in found.values())
        await check_all(stage.client, stage.expected)
        after = await shared(stage.client, 1)
        moved = {p for p, owner in owners.items() if owner != after[p]}
        told = [move["partition"] for move in (await stage.client.projections.owners())["moves"]]
        assert len(moved) == 2
        assert set(told[:2]) == moved
        await flown(stage)
        await stage.mesh.restart("projector-2")
        again = await shared(stage.client, 2)
        taken = {p for p, owner in again.items() if owner != after[p]}
        assert len(taken) == 2
        moves = (await stage.client.projections.owners())["moves"]
        assert {move["partition"] for move in moves[:2]} == taken
        assert len(moves) == len(told) + 2  # nothing else was moved for it


async def shared(client: Client, replicas: int) -> dict[int, str]:
    """Who owns each partition, once that is said of all, and so many have a share."""
    async with asyncio.timeout(SECONDS):
        while True:
            rows = (await client.projections.owners())["partitions"]
            found = {row["partition"]: row["owner"] for row in rows if row["owner"] is not None}
            if len(found) == len(rows) and len(set(found.values())) == replicas:
                return found
            await asyncio.sleep(POLL)


async def flown(stage: Stage) -> None:
    """Until a trip that is flown now is told among what comes, and its plane among the hot keys."""
    async with asyncio.timeout(SECONDS):
        while True:
            await stage.fly(10, first=TRIPS + 1000)
            found = await stage.client.projections.rates()
            if [row["type"] for row in found["types"]] == ["trip.ended.v1"] and found["keys"]:
                assert found["keys"][0]["key"].startswith("plane-N")
                assert sum(found["types"][0]["counts"]) == found["types"][0]["events"] > 0
                return
            await asyncio.sleep(POLL)


async def test_one_that_leaves_and_comes_back_costs_nothing(
    tmp_path: Path, mesh_name: str, kafka: str, redis_url: str
) -> None:
    """A replica that is stopped in the middle and started again rebalances twice, and every total is exact."""
    async with staged(tmp_path, mesh_name, kafka, redis_url, replicas=2) as stage:
        await until(stage.client, lambda found: all(len(row["owns"]) == 2 for row in found.values()))
        await stage.fly(TRIPS)
        await until(stage.client, in_the_middle)
        await stage.mesh.restart("projector-2")
        await until(stage.client, lambda found: all(len(row["owns"]) == 2 for row in found.values()))
        await settled(stage.client)
        await check_all(stage.client, stage.expected)


async def test_wiped_views_are_rebuilt_from_kafka(tmp_path: Path, mesh_name: str, kafka: str, redis_url: str) -> None:
    """When Redis loses everything of the mesh, a new epoch begins by itself and ends with the same totals."""
    async with staged(tmp_path, mesh_name, kafka, redis_url) as stage:
        await stage.fly(3000)
        before = await settled(stage.client)
        redis = connect(RedisSettings(url=redis_url), "test")
        keys = [key async for key in redis.scan_iter(f"{mesh_name}:*", count=1000)]
        await redis.unlink(*keys)
        await redis.aclose()
        await until(stage.client, lambda found: all(found[n]["epoch"] not in (None, before[n]["epoch"]) for n in found))
        await stage.fly(500, first=3000)
        await settled(stage.client)
        await check_all(stage.client, stage.expected)


async def test_poison_parks_one_key_and_is_kept(tmp_path: Path, mesh_name: str, kafka: str, redis_url: str) -> None:
    """The key says why it stands still, the event is in the dead letters, and everything else goes on."""
    async with staged(tmp_path, mesh_name, kafka, redis_url) as stage:
        trips = make_trips(50)
        trips[20]["minutes"] = POISON
        await stage.feed.trips(trips)
        await stage.feed.events("trip.ended.v1", [("plane-N1000", b"{}")])
        await settled(stage.client)
        sick = str(trips[20]["plane"])
        stage.expected.count(trip for trip in trips if trip["plane"] != sick)
        view = await stage.client.views.get("plane", sick)
        assert view["parked"]["cause"] == "ValueError: thirteen minutes"
        others = {v["key"]: v["state"] async for v in stage.client.views.list("plane") if "parked" not in v}
        assert {k: (s["at"], s["trips"], s["minutes"]) for k, s in others.items()} == stage.expected.planes
        airports = [view["version"] async for view in stage.client.views.list("airports")]
        assert sum(airports) == 2 * len(trips)
        letters = await dead_letters(kafka, f"{mesh_name}.deadletters.v1", 4)
        assert sorted(by for by, _ in letters) == ["fold-plane", "fold-plane", "rekey-airports", "rekey-carriers"]
        assert ("fold-plane", "ValueError: thirteen minutes") in letters
        assert all(row["fault"] is None for row in (await rows(stage.client)).values())


async def dead_letters(kafka: str, topic: str, count: int) -> list[tuple[str, str]]:
    """Writer and cause of the first letters."""
    found: list[tuple[str, str]] = []
    start = {(topic, partition): 0 for partition in range(4)}
    async with (
        asyncio.timeout(20),
        BatchConsumer(KafkaSettings(bootstrap_servers=kafka), "test", f"{topic}-test", assign=start) as consumer,
    ):
        async for records in consumer.batches():
            for record in records:
                headers = dict(record.headers() or [])
                by, cause = headers["nerv_deadletter_by"], headers["nerv_deadletter_cause"]
                found.append((by.decode(), cause.decode()))
            if len(found) >= count:
                return found
    raise AssertionError(f"only {found}")
