# SPDX-License-Identifier: Apache-2.0
"""A group's side in Redis against its model, operation by operation, on a real server."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from nerv.app import App
from nerv.errors import Overloaded
from nerv.history.memory import MemoryHistory
from nerv.kafka import KafkaSettings, Producer
from nerv.kafka.deadletters import Origin
from nerv.redis import RedisSettings, connect
from nerv.redis.connection import Redis
from nerv.subscriptions import Books
from nerv_broker.deadletters.reading import LetterBox
from nerv_broker.groups.entries import Entry, Token, unpack
from nerv_broker.groups.partition import PartitionWork, Tools
from nerv_broker.groups.seeing import Sight
from nerv_broker.groups.shared import Lost, SharedGroup, Verdict
from nerv_broker.groups.spec import GroupSpec
from nerv_broker.middleware import Chains
from tests.contract.group_model import Held, Model

KEYS = st.sampled_from([b"a", b"b", b"\xff", None])
MOST = 2
WINDOW = 6


def entry(offset: int, key: bytes | None, partition: int = 0) -> Entry:
    """A record with bytes of all kinds."""
    return Entry(Origin("t", partition, offset), key, b"\x00\xff" + str(offset).encode(), [("h", b"\xfe")], 1234)


def spec(**changes: Any) -> GroupSpec:
    """A group whose leases end only when the test says so."""
    return GroupSpec.model_validate(
        {"topic": "t", "max_attempts": MOST, "window": WINDOW, "lease_seconds": 3600} | changes
    )


class GroupMachine(RuleBasedStateMachine):
    """One partition of a group, dispatched, fetched, answered, lost and taken over in any order."""

    redis_url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.name = f"t{uuid.uuid4().hex[:12]}"
        self.redis = connect(RedisSettings(url=self.redis_url), self.name)
        self.group = SharedGroup(self.redis, self.name, "g", 1, spec())
        self.base = f"{self.name}:{{group:g:1}}"
        self.model = Model(WINDOW, MOST)
        self.records: list[tuple[int, bytes | None]] = []  # the topic
        self.epoch = ""
        self.tokens: dict[str, Token] = {}

    def do(self, work: Awaitable[Any]) -> Any:
        """The answer of an operation."""

        async def run() -> Any:
            return await work

        return self.runner.run(run())

    def teardown(self) -> None:
        """Nothing stays."""
        self.do(self.wipe())
        self.do(self.redis.aclose())
        self.runner.close()

    async def wipe(self) -> None:
        """Redis loses everything."""
        keys = [key async for key in self.redis.scan_iter(f"{self.name}:*")]
        if keys:
            await self.redis.unlink(*keys)

    @initialize()
    def begin(self) -> None:
        """The first dispatcher."""
        self.epoch = uuid.uuid4().hex
        assert self.do(self.group.take(0, self.epoch, 0, uuid.uuid4().hex)) == (True, 0)

    @rule(keys=st.lists(KEYS, min_size=1, max_size=5), gap=st.integers(0, 2))
    def dispatch(self, keys: list[bytes | None], gap: int) -> None:
        """As many as there is room for; what was put in before changes nothing."""
        start = self.model.next
        end = max([offset for offset, _ in self.records], default=-1) + 1 + gap
        self.records += [(end + index, key) for index, key in enumerate(keys)]
        fresh = [(offset, key) for offset, key in self.records if offset >= start]
        to = self.records[-1][0] + 1
        answer = self.do(self.group.dispatch(0, self.epoch, start, to, [entry(*one) for one in fresh]))
        room = WINDOW - sum(not one.again for one in self.model.entries)
        for offset, key in fresh[:room]:
            self.model.put(offset, key)
        self.model.next = to if len(fresh) <= room else fresh[room][0]
        assert answer == self.model.next
        again = self.do(self.group.dispatch(0, self.epoch, start, to, [entry(*one) for one in fresh[:room]]))
        self.model.next = max(self.model.next, to) if len(fresh) <= room else self.model.next
        assert again >= answer
        self.model.next = again

    @rule(limit=st.integers(1, 12))
    def fetch(self, limit: int) -> None:
        """First come, first served, each with the bytes that it had."""
        found = self.do(self.group.fetch("m", limit))
        assert [(one.token.entry, one.token.attempt) for one in found] == self.model.fetch(limit)
        for one in found:
            self.tokens[one.token.entry] = one.token
            held = self.model.the(one.token.entry)
            assert one.entry[:5] == entry(held.offset, held.key)[:5]

    def in_hand(self) -> list[Held]:
        """What a member has."""
        return [one for one in self.model.entries if one.state == "in hand"]

    @precondition(lambda self: self.in_hand())
    @rule(data=st.data(), verb=st.sampled_from(["ack", "retry", "later", "park", "skip", "release", "renew"]))
    def answer(self, data: st.DataObject, verb: str) -> None:
        """Whoever has it in hand settles it, and is told the same when he repeats himself."""
        one = data.draw(st.sampled_from(self.in_hand()))
        token = self.tokens[one.id]
        wait = {"retry": 0.0, "later": 3600.0}.get(verb)
        verdict = Verdict(token, "retry" if verb == "later" else verb, wait, "because")
        assert self.do(self.group.conclude([verdict])) == [True]
        self._told(one, verb)
        assert self.do(self.group.conclude([verdict])) == [True]
        if verb != "renew":
            other = "ack" if verb != "ack" else "skip"
            assert self.do(self.group.conclude([Verdict(token, other)])) == [False]

    def _told(self, one: Held, verb: str) -> None:
        if verb == "ack":
            self.model.settle(one)
            if one.again:
                self.model.done.add(one.id)
        elif verb in ("retry", "later"):
            self.model.fail(one, due=verb == "retry")
        elif verb == "release":
            one.spared += 1
            self.model.make_ready(one)
        elif verb in ("park", "skip"):
            self.model.doom(one, verb)

    @precondition(lambda self: self.in_hand())
    @rule(data=st.data())
    def answer_late(self, data: st.DataObject) -> None:
        """An answer for a delivery that is another's by now changes nothing."""
        one = data.draw(st.sampled_from(self.in_hand()))
        token = self.tokens[one.id]
        assert self.do(self.group.conclude([Verdict(token, "release")])) == [True]
        self._told(one, "release")
        self.fetch(12)
        assert one.state == "in hand"
        self.do(self.group.conclude([Verdict(token, verb) for verb in ("ack", "park", "skip", "retry", "release")]))
        assert self.do(self.group.in_hand([token])) == [False]

    @precondition(lambda self: self.in_hand())
    @rule(data=st.data())
    def park(self, data: st.DataObject) -> None:
        """It goes to the dead letters, and those behind it with it."""
        one = data.draw(st.sampled_from(self.in_hand()))
        assert self.do(self.group.conclude([Verdict(self.tokens[one.id], "park")])) == [True]
        self._told(one, "park")
        self.tick()

    @precondition(lambda self: self.in_hand())
    @rule(data=st.data())
    def lease_ends(self, data: st.DataObject) -> None:
        """It is an attempt that failed; whoever had it in hand is too late."""
        one = data.draw(st.sampled_from(self.in_hand()))
        self.do(self.redis.zadd(f"{self.base}:lease:0", {one.id: 1}))
        for due in self.model.due():
            self.model.make_ready(due)
        self.model.fail(one, due=False)  # the first pause of the group is a second
        self._tick(settle=False)
        assert self.do(self.group.conclude([Verdict(self.tokens[one.id], "ack")])) == [False]
        if one.state == "delayed":
            self.do(self.redis.zadd(f"{self.base}:delay:0", {one.id: 9e15}))

    @rule()
    def tick(self) -> None:
        """What is due is ready again, what was given up is told with those behind it, and settled."""
        for due in self.model.due():
            self.model.make_ready(due)
        self._tick(settle=True)

    def _tick(self, *, settle: bool) -> None:
        told = self.do(self.group.tick(0, self.epoch))
        assert (told.next, told.floor, set(told.done)) == (self.model.next, self.model.floor, self.model.done)
        assert [(one.id, one.verb) for one in told.doomed] == self.model.given_up()
        if not settle:
            return
        if told.doomed:
            self.do(self.group.give_up(0, self.epoch, told.doomed))
            for one in told.doomed:
                self.model.settle(self.model.the(one.id), parked=one.verb != "skip")
        if told.done:
            self.do(self.group.resolved(0, self.epoch, told.done))
            self.model.done.clear()

    @precondition(lambda self: self.records)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """A dead letter goes behind what its key has under way; once, however often it is put in."""
        offset, key = data.draw(st.sampled_from(self.records))
        name = f"0:{offset}:r"
        known = self.model.get(name) is not None or name in self.model.done
        room = sum(one.again for one in self.model.entries) < WINDOW
        assert self.do(self.group.replay(0, self.epoch, [entry(offset, key)])) == (1 if known or room else 0)
        if not known and room:
            self.model.put(offset, key, again=True)

    @rule()
    def another_dispatches(self) -> None:
        """It finds all as it is, and the one before can change nothing any more."""
        deposed, self.epoch = self.epoch, uuid.uuid4().hex
        assert self.do(self.group.take(0, self.epoch, 0, uuid.uuid4().hex)) == (False, self.model.next)
        self._refused(deposed)

    def _refused(self, epoch: str) -> None:
        for work in (
            self.group.dispatch(0, epoch, self.model.next, self.model.next + 1, [entry(self.model.next, None)]),
            self.group.replay(0, epoch, [entry(1, None)]),
            self.group.tick(0, epoch),
            self.group.give_up(0, epoch, []),
            self.group.resolved(0, epoch, ["0:1:r"]),
        ):
            with pytest.raises(Lost):
                self.do(work)

    @rule()
    def redis_is_lost(self) -> None:
        """Nobody can go on; who takes it anew begins at the position, and no old token counts."""
        floor = self.model.floor
        self.do(self.wipe())
        self._refused(self.epoch)
        old = list(self.tokens.values())
        if old:
            assert not any(self.do(self.group.conclude([Verdict(token, "ack") for token in old])))
        self.begin_at(floor)
        if old:
            assert not any(self.do(self.group.conclude([Verdict(token, "ack") for token in old])))
        self.tokens.clear()

    def begin_at(self, floor: int) -> None:
        """A fresh take."""
        self.epoch = uuid.uuid4().hex
        assert self.do(self.group.take(0, self.epoch, floor, uuid.uuid4().hex)) == (True, floor)
        self.model = Model(WINDOW, MOST, floor)

    @invariant()
    def what_is_shown_is_so(self) -> None:
        """And of each key at most one is in hand."""
        if not self.epoch:
            return
        _, [shown] = self.do(self.group.show([0]))
        states = [one.state for one in self.model.entries]
        assert (shown.next, shown.floor) == (self.model.next, self.model.floor)
        assert shown.unsettled == sum(not one.again for one in self.model.entries)
        assert (shown.in_hand, shown.delayed) == (states.count("in hand"), states.count("delayed"))
        keys = [one.key for one in self.in_hand() if one.key is not None]
        assert len(keys) == len(set(keys))


def test_a_group_on_redis_does_what_the_model_does(redis_url: str) -> None:
    """Under any operations in any order."""
    machine = type("Machine", (GroupMachine,), {"redis_url": redis_url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            report_multiple_bugs=False,
            phases=[Phase.generate],
        ),
    )


@pytest.fixture
async def redis(redis_url: str, mesh_name: str) -> AsyncIterator[Redis]:
    """Connections to a real server; the keys of the test are deleted afterwards."""
    client = connect(RedisSettings(url=redis_url), mesh_name)
    yield client
    keys = [key async for key in client.scan_iter(f"{mesh_name}:*")]
    if keys:
        await client.unlink(*keys)
    await client.aclose()


async def filled(redis: Redis, mesh: str, strategy: str, count: int) -> SharedGroup:
    """A group with so many events, each of a key of its own."""
    group = SharedGroup(redis, mesh, "g", 1, spec(strategy=strategy, window=1000))
    await group.take(0, "e", 0, "l")
    await group.dispatch(0, "e", 0, count, [entry(offset, str(offset).encode()) for offset in range(count)])
    return group


async def keys_of(group: SharedGroup, member: str, limit: int = 1000) -> set[bytes | None]:
    """The keys that a member is given, which it acknowledges."""
    found = await group.fetch(member, limit)
    await group.conclude([Verdict(one.token, "ack") for one in found])
    return {one.entry.key for one in found}


async def test_round_robin_gives_to_whoever_asks(redis: Redis, mesh_name: str) -> None:
    """In the order in which they ask."""
    group = await filled(redis, mesh_name, "round-robin", 10)
    assert [len(await keys_of(group, member, 5)) for member in ("a", "b", "a")] == [5, 5, 0]


async def test_by_key_a_key_stays_with_its_member(redis: Redis, mesh_name: str) -> None:
    """Also when others come; the newcomer's share comes from those who have more than theirs."""
    group = await filled(redis, mesh_name, "by-key", 200)
    for member in "ab":
        await group.fetch(member, 0)
    first = {member: await keys_of(group, member) for member in "ab"}
    assert all(len(keys) > 50 for keys in first.values())
    assert len(first["a"] | first["b"]) == 200
    await group.fetch("c", 0)
    await group.dispatch(0, "e", 200, 400, [entry(200 + n, str(n).encode()) for n in range(200)])
    second = {member: await keys_of(group, member) for member in "abc"}
    assert len(second["c"]) > 30
    assert second["a"] <= first["a"]
    assert second["b"] <= first["b"]


async def test_by_key_those_of_a_member_that_leaves_go_to_the_others(redis: Redis, mesh_name: str) -> None:
    """And all are given out."""
    group = await filled(redis, mesh_name, "by-key", 100)
    for member in "ab":
        await group.fetch(member, 0)
    await group.leave("a")
    assert len(await keys_of(group, "b")) == 100


async def test_single_gives_all_to_the_one_that_came_first(redis: Redis, mesh_name: str) -> None:
    """And to the next when it is gone."""
    group = await filled(redis, mesh_name, "single", 10)
    assert len(await keys_of(group, "first", 4)) == 4
    assert len(await keys_of(group, "second")) == 0
    await group.leave("first")
    assert len(await keys_of(group, "second")) == 6


async def test_members_are_bounded_and_those_that_are_silent_make_room(redis: Redis, mesh_name: str) -> None:
    """One more than a thousand is refused, and taken once another has not asked for long; with all that it was."""
    group = await filled(redis, mesh_name, "single", 1)
    base = f"{mesh_name}:{{group:g:1}}"
    await redis.zadd(f"{base}:members", {f"m{n}": 9e15 for n in range(1000)})
    await redis.zadd(f"{base}:since", {f"m{n}": n for n in range(1000)})
    with pytest.raises(Overloaded, match="1000 members"):
        await group.fetch("more", 1)
    await redis.zadd(f"{base}:members", {f"m{n}": 1 for n in range(1000)})
    for _ in range(10):  # some are forgotten at a time
        await group.fetch("more", 0)
    assert len(await group.fetch("more", 1)) == 1
    assert await redis.zcard(f"{base}:since") == 1


async def test_nothing_of_a_parked_key_is_given_out_however_much_is_behind_it(redis: Redis, mesh_name: str) -> None:
    """Not even while the dead letters take it in several goes."""
    group = SharedGroup(redis, mesh_name, "g", 1, spec(window=1000))
    await group.take(0, "e", 0, "l")
    await group.dispatch(0, "e", 0, 250, [entry(offset, b"k") for offset in range(250)])
    [first] = await group.fetch("a", 10)
    await group.conclude([Verdict(first.token, "park")])
    buried: list[int] = []
    while doomed := (await group.tick(0, "e")).doomed:
        await group.give_up(0, "e", doomed)
        buried += [one.entry.origin.offset for one in doomed]
        assert await group.fetch("a", 10) == []
    assert buried == list(range(250))
    assert (await group.tick(0, "e")).floor == 250


async def test_a_removed_group_leaves_nothing(redis: Redis, mesh_name: str) -> None:
    """No key of it."""
    group = await filled(redis, mesh_name, "by-key", 10)
    await group.replay(0, "e", [entry(1, b"1")])
    [*_, parked, acked] = await group.fetch("a", 10)
    await group.conclude([Verdict(parked.token, "park"), Verdict(acked.token, "ack")])
    await group.remove(1)
    assert [key async for key in redis.scan_iter(f"{mesh_name}:*")] == []


@pytest.mark.parametrize("record", [entry(1, None), entry(2, b"\xff"), Entry(Origin("t", 0, 3), b"", None, [], 0, 7)])
def test_a_record_comes_out_of_redis_as_it_went_in(record: Entry) -> None:
    """Null values, empty keys and bytes that are no text included."""
    assert unpack(record.pack()) == record


async def test_who_takes_over_tells_no_position_before_it_has_looked(redis: Redis, mesh_name: str, kafka: str) -> None:
    """What the one before had handed out is not settled: a position behind it would lose it when Redis is lost, too."""
    group = await filled(redis, mesh_name, "round-robin", 3)
    assert len(await group.fetch("m", 1)) == 1
    settings = KafkaSettings(bootstrap_servers=kafka)
    async with Books(MemoryHistory(), "g") as books, Producer(settings, mesh_name) as producer:
        box = LetterBox(settings, mesh_name, f"{mesh_name}.dead")
        sight = Sight(Chains(App("none"), 1), spec().chooser())
        tools = Tools(group, books, producer, box, f"{mesh_name}.dead", sight, lambda: 1, 1, lambda: None, "g")
        _, start = await group.take(0, "later", 0, "x")
        work = PartitionWork(tools, "t", 0, "later", start)
        assert (work.next, work.floor) == (3, None)
        running = asyncio.create_task(work.run())
        async with asyncio.timeout(30):
            while work.floor is None:  # noqa: ASYNC110 - it rings no bell
                await asyncio.sleep(0.01)
        running.cancel()
        assert work.floor == 0
