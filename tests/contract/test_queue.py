# SPDX-License-Identifier: Apache-2.0
"""The queue port: in memory, and on a real Redis, where also its losses are tried."""

import asyncio
import os
import re
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from nerv.dev.guard import mark
from nerv.dev.ports import Ports
from nerv.dev.redis import start as start_redis
from nerv.errors import UnknownOutcome
from nerv.protocols.queue import END, Claim, Done, NodeStatus, Priority, Queue, RunStatus
from nerv.redis import RedisSettings, connect
from nerv.redis.connection import Redis, wait_ready
from nerv.testing.contracts.places import PlacesContract
from nerv.testing.contracts.queue import LEASE, PATIENCE, QueueContract, fan, finish, nothing, single, take
from nerv.testing.memory_queue import MemoryQueue
from nerv_scheduler.queue import RedisQueue
from nerv_scheduler.queue.redis_queue import FAIR, FOUND
from tests.faults.rig.standing import Standing


class TestMemoryQueue(QueueContract, PlacesContract):
    """The memory queue keeps the contract."""

    @pytest.fixture
    def queue(self) -> Queue:
        """A new one for each test."""
        return MemoryQueue(lease=LEASE)


@pytest.fixture
async def redis(redis_url: str, mesh_name: str) -> AsyncIterator[Redis]:
    """Connections to a real server; the keys of the mesh are deleted afterwards."""
    client = connect(RedisSettings(url=redis_url), mesh_name)
    yield client
    keys = [key async for key in client.scan_iter(f"{mesh_name}:*")]
    if keys:
        await client.unlink(*keys)
    await client.aclose()


@pytest.fixture
async def queue(redis: Redis, mesh_name: str) -> Queue:
    """A queue of its own for each test, with its group."""
    made = RedisQueue(redis, mesh_name, lease=LEASE, keep=60)
    await made.take("nobody", 1, 0.0)
    return made


class TestRedisQueue(QueueContract, PlacesContract):
    """The queue on Redis keeps the contract."""

    async def test_a_wiped_server_is_noticed(self, queue: Queue, redis: Redis, mesh_name: str) -> None:
        """When all keys are deleted the queue is not intact, and the group is made anew from the first entry on."""
        await queue.mark_intact({})
        await queue.start(single())
        keys = [key async for key in redis.scan_iter(f"{mesh_name}:*")]
        await redis.unlink(*keys)
        plan = single()
        await queue.start(plan)
        assert not (await nothing(queue)).intact
        [claim] = await take(queue)
        assert claim.run == plan.run

    async def test_a_stream_deleted_under_a_waiting_worker_is_noticed(
        self, queue: Queue, redis: Redis, mesh_name: str
    ) -> None:
        """A worker that waits for entries hears that the stream is gone."""
        await queue.mark_intact({})
        waiting = asyncio.create_task(queue.take("a", 1, 5.0))
        async with asyncio.timeout(10):
            while not await _is_blocked(redis, mesh_name):  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)
            await redis.unlink(f"{mesh_name}:tasks:default")
            assert not (await waiting).intact

    async def test_a_restored_run_takes_no_old_tokens(self, queue: Queue, redis: Redis, mesh_name: str) -> None:
        """A run whose entries are lost is put in anew: earlier claims are lost, old entries are passed over."""
        plan = fan()
        await queue.start(plan)
        old, _ = await take(queue, at_least=2)
        await redis.unlink(f"{mesh_name}:tasks:default")
        await nothing(queue)
        assert await queue.start(plan, restore=True)
        assert await queue.renew("a", [old]) == [old]
        assert not await finish(queue, old, b"old")
        assert len({claim.node for claim in await take(queue, at_least=2)}) == 2

    async def test_an_entry_whose_run_is_lost_is_an_orphan(self, queue: Queue, redis: Redis, mesh_name: str) -> None:
        """A worker that takes it learns which run to restore; what is restored runs once."""
        plan = single()
        await queue.start(plan)
        await redis.unlink(f"{mesh_name}:run:{plan.run}")
        taken = await queue.take("a", 10, 1.0)
        assert [orphan.run for orphan in taken.orphans] == [plan.run]
        assert await queue.start(plan, restore=True)
        await queue.drop(taken.orphans[0])
        assert len(await take(queue)) == 1
        await nothing(queue)

    async def test_nothing_is_left_in_the_stream(self, queue: Queue, redis: Redis, mesh_name: str) -> None:
        """Entries are acknowledged and deleted with the work they stand for."""
        plan = fan(count=5)
        await queue.start(plan)
        for claim in await take(queue, at_least=5):
            await finish(queue, claim, b"1")
        for _ in range(2):
            [claim] = await take(queue)
            if claim.node == "join":
                await finish(queue, claim, b"1")
            else:
                await queue.close(claim, RunStatus.COMPLETED)
        assert await redis.xlen(f"{mesh_name}:tasks:default") == 0
        assert 0 < await redis.ttl(f"{mesh_name}:run:{plan.run}") <= 60

    async def test_workers_that_are_gone_are_forgotten(self, queue: RedisQueue) -> None:
        """Names that hold nothing are dropped after a while; one that holds a node stays, and so does the node."""
        await queue.start(single())
        [claim] = await take(queue, "holding")
        await nothing(queue, "gone")
        assert await queue.forget_workers(3600) == 0
        assert await queue.forget_workers(0) >= 1
        assert await queue.renew("holding", [claim]) == []
        assert (await take(queue, "other"))[0].node == claim.node

    async def test_after_an_outage_the_living_keep_what_they_hold(
        self, queue: RedisQueue, redis: Redis, mesh_name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Redis was away for longer than a lease: who lives renews before others may take its work, and the dead's is taken."""
        await queue.start(fan())
        held, dead = await take(queue, "a", at_least=2)
        other = RedisQueue(redis, mesh_name, lease=LEASE, keep=60)
        await asyncio.sleep(LEASE)
        with monkeypatch.context() as patched:
            patched.setattr(redis, "execute_command", _away)
            with pytest.raises(UnknownOutcome):
                await other.take("b", 10, 0.0)
        await nothing(other)
        taken: tuple[Claim, ...] = ()
        async with asyncio.timeout(PATIENCE):
            while not taken:
                assert await queue.renew("a", [held]) == []
                taken = (await other.take("b", 10, 0.05)).claims
        assert [claim.node for claim in taken] == [dead.node]

    async def test_the_backlog_of_a_worker_that_is_gone_is_forgotten(
        self, queue: RedisQueue, redis: Redis, mesh_name: str
    ) -> None:
        """It ended with something in its backlog, which another has taken since: no key of it stays."""
        await queue.start(single())
        claims = await take(queue, "gone")
        await queue.shelve("gone", claims, 0.001)
        await asyncio.sleep(LEASE)
        assert await finish(queue, (await take(queue, "other"))[0], b"1")
        assert await queue.forget_workers(0) >= 1
        assert not [key async for key in redis.scan_iter(f"{mesh_name}:tasks:default:backlogs*")]

    async def test_all_that_wait_for_one_event_are_found(self, queue: RedisQueue, redis: Redis, mesh_name: str) -> None:
        """Also more than one answer holds, each once; another key beside it has its own."""
        members = {f"k\nr-{i}\nonly\n0": 0 for i in range(2 * FOUND + 5)}
        await redis.zadd(f"{mesh_name}:tasks:default:awaited", members)
        await queue.listen("r", "only", "other", 0)
        await queue.mark_intact({})
        found = await queue.awaiting(["k", "other", "none"])
        assert found is not None
        assert found["other"] == [("r", "only", 0)]
        assert len(found["k"]) == len(set(found["k"])) == 2 * FOUND + 5
        assert set(found) == {"k", "other"}

    async def test_a_waiting_run_costs_less_than_a_kibibyte(self, queue: Queue, redis: Redis, mesh_name: str) -> None:
        """Runs that wait for an event, with a time-out and a deadline: what is kept of each, and of how many tasks it has."""
        count, later = 300, time.time_ns() // 1_000_000 + 3_600_000
        before = await _bytes(redis, mesh_name)
        for _ in range(count):
            plan = fan(count=20)
            parts = [replace(plan.nodes[0], status=NodeStatus.SLEEPING, due_ms=later, key=uuid.uuid4().hex[:24])]
            parts += [replace(node, status=NodeStatus.COMPLETED) for node in plan.nodes[1:20]]
            await queue.start(replace(plan, nodes=(*parts, replace(plan.nodes[20], waits=1)), deadline_ms=later))
        assert await queue.known([plan.run]) == [True]
        assert not [key async for key in redis.scan_iter(f"{mesh_name}:run:*")]
        assert 100 < (await _bytes(redis, mesh_name) - before) / count < 1024

    async def test_what_is_not_urgent_is_not_passed_over_for_ever(self, queue: RedisQueue) -> None:
        """Now and then a look begins with the lowest priority, though there is always something urgent."""
        low = replace(single(), priority=Priority.LOW)
        await queue.start(low)
        for _ in range(2 * FAIR):
            await queue.start(replace(single(), priority=Priority.HIGH))
        taken = [(await take(queue, limit=1))[0].run for _ in range(FAIR + 1)]
        assert low.run in taken

    async def test_a_token_that_was_forgotten_is_not_given_again(
        self, queue: RedisQueue, redis: Redis, mesh_name: str
    ) -> None:
        """The server loses that a node was taken: who takes it then is told from who took it before."""
        await queue.start(single())
        before = await _dumped(redis, mesh_name)
        [first] = await take(queue, "a")
        await _put_back(redis, mesh_name, before)
        [second] = await take(queue, "b")
        assert (second.node, second.attempt, second.entry) == (first.node, first.attempt, first.entry)
        assert await queue.renew("a", [first]) == [first]
        assert not await finish(queue, first, b"old")
        assert not await queue.fail(first, "old")
        assert not await queue.release(first)
        assert await finish(queue, second, b"new")

    async def test_a_server_that_was_started_anew_is_not_believed(self, tmp_path: Path, mesh_name: str) -> None:
        """It may have lost what was written last: who works on keeps what it holds, and history is asked before all else."""
        async with _kept(tmp_path, mesh_name) as (queue, server):
            await queue.mark_intact({})
            plan = fan(count=3)
            await queue.start(plan)
            told, asked, given_back = await take(queue, at_least=3)
            await server.kill()
            with pytest.raises(UnknownOutcome):
                await nothing(queue)
            assert not (await nothing(queue)).intact
            assert await queue.renew("a", [told, asked, given_back]) == []
            assert not await finish(queue, told, b"1")
            assert await queue.complete([Done(asked, b"1", looked=True)]) == [True]
            assert await queue.release(given_back)
            [orphan] = (await queue.take("b", 10, 0.0)).orphans
            assert (orphan.run, orphan.node) == (plan.run, given_back.node)
            assert not await queue.start(plan, restore=True)
            await queue.drop(orphan)
            [again] = await take(queue, "b")
            assert (again.node, again.attempt) == (given_back.node, 2)
            assert await queue.release(told)
            [told] = await take(queue)
            assert told.attempt == 2
            assert await queue.complete([Done(told, b"1", looked=True), Done(again, b"2", looked=True)]) == [True] * 2
            [join] = await take(queue)
            assert join.attempt == 2
            await queue.mark_intact({})
            assert (await nothing(queue)).intact

    async def test_a_run_whose_end_was_forgotten_is_closed_once_more(self, tmp_path: Path, mesh_name: str) -> None:
        """The server has it as one that goes on; history, that it has ended: only its end is left to do."""
        async with _kept(tmp_path, mesh_name) as (queue, _):
            plan = single()
            await queue.start(plan)
            await take(queue)
            ended = replace(plan.nodes[0], status=NodeStatus.COMPLETED, result=b"1")
            assert await queue.start(replace(plan, status=RunStatus.COMPLETED, nodes=(ended,)), restore=True)
            [end] = await take(queue)
            assert end.node == END
            assert await queue.close(end, RunStatus.COMPLETED, result=b"1")
            assert await queue.status(plan.run) is RunStatus.COMPLETED

    async def test_scripts_are_packaged(self) -> None:
        """Every script lies beside the code, so that it is in the wheel."""
        import nerv_scheduler.queue as room

        folder = Path(str(room.__file__)).parent
        called = set(
            re.findall(r"_(?:scripts|write)\(\"(\w+)\"", (folder / "redis_queue.py").read_text(encoding="utf-8"))
        )
        assert called | {"preamble"} == {path.stem for path in folder.glob("*.lua")}


@asynccontextmanager
async def _kept(folder: Path, mesh: str) -> AsyncIterator[tuple[RedisQueue, Standing]]:
    """A queue on a server of the test's own, which keeps what is written; leases never run out."""
    server = await asyncio.to_thread(_server, folder)
    redis = connect(RedisSettings(url=server.address), mesh)
    try:
        queue = RedisQueue(redis, mesh, lease=3600.0, keep=60)
        await nothing(queue)
        yield queue, server
    finally:
        await redis.aclose()
        await asyncio.to_thread(server.stop)


def _server(folder: Path) -> Standing:
    """A server of the test's own, which keeps what is written."""
    token = uuid.uuid4().hex[:12]
    made = start_redis(
        folder / "redis", mark(os.environ, token), log=folder / "redis.log", ports=Ports(folder), persist=True
    )
    return Standing(made, wait_ready)


async def _dumped(redis: Redis, mesh: str) -> dict[bytes, bytes]:
    """All keys of a mesh, as they are."""
    return {key: await redis.dump(key) or b"" async for key in redis.scan_iter(f"{mesh}:*")}


async def _put_back(redis: Redis, mesh: str, dumped: dict[bytes, bytes]) -> None:
    """All keys of a mesh, as they were."""
    await redis.unlink(*[key async for key in redis.scan_iter(f"{mesh}:*")])
    for key, value in dumped.items():
        await redis.restore(key, 0, value)


async def _away(*words: object, **options: object) -> None:
    """What a server answers that is away."""
    raise RedisConnectionError("away")


async def _bytes(redis: Redis, mesh: str) -> int:
    """What the keys of a mesh take in memory, every element counted."""
    keys = [key async for key in redis.scan_iter(f"{mesh}:*")]
    return sum([await redis.memory_usage(key, samples=0) or 0 for key in keys])


async def _is_blocked(redis: Redis, name: str) -> bool:
    """Whether a connection of this name waits in a blocking command."""
    return any(c["name"] == name and "b" in c["flags"] for c in await redis.client_list())
