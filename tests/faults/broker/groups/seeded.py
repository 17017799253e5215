# SPDX-License-Identifier: Apache-2.0
"""The checker is shown to find bugs: one course of a group, on `group.lua` as it is and with a bug in it.

Dispatcher and members are played here, on a real Redis and without Kafka, so that the same things happen in each.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import count

from nerv.errors import Internal
from nerv.kafka.deadletters import Origin
from nerv.redis import RedisSettings, connect
from nerv.redis.connection import Redis
from nerv_broker.groups.entries import Delivery, Entry
from nerv_broker.groups.shared import SharedGroup, Verdict
from nerv_broker.groups.spec import GroupSpec
from tests.faults.broker.groups.checker import Course, Handled, Record, check
from tests.faults.verdict import Invariant

SOURCE = files("nerv_broker.groups").joinpath("group.lua").read_text(encoding="utf-8")
RECORDS, KEYS, ROUNDS = 60, 4, 400
SPEC = GroupSpec.model_validate({"topic": "t", "max_attempts": 2, "first_retry_seconds": 0.001, "lease_seconds": 3600})


@dataclass(frozen=True, slots=True)
class Bug:
    """A bug in the script: what stands there instead, and the rule that is broken by it."""

    name: str
    rule: str
    changes: Sequence[tuple[str, str]]

    def text(self) -> str:
        """The script with the bug in it."""
        text = SOURCE
        for right, wrong in self.changes:
            if text.count(right) != 1:
                raise Internal(f"the bug {self.name!r} is not where it was in group.lua: {right!r}")
            text = text.replace(right, wrong)
        return text


FAILS = """\
    fail(p, id, attempt, tonumber(most), back_off(attempt, tonumber(first), tonumber(longest)), 'the lease ended')
"""
HELD = """\
      and redis.call('HGET', key('tries', p), id) == attempt
      and redis.call('ZSCORE', key('lease', p), id)
    if held then
"""
DELAYS = """\
    redis.call('ZADD', key('delay', p), now + wait, id)
"""
OVERTAKES = """\
    local next_one = redis.call('HGET', key('behind', p), id)
    if next_one then make_ready(p, next_one) end
"""

BUGS = (
    Bug(
        "the offset moves past a gap",
        "lost",
        [("return first[1] and string.match(first[1][1], '^%d+') or redis.call(", "return redis.call(")],
    ),
    Bug("a lease that ends counts as an acknowledgement", "lost", [(FAILS, "    settle(p, id, false)\n")]),
    Bug("an answer of a member that has lost the event counts", "lost", [(HELD, "    if held then\n")]),
    Bug("the next of a key overtakes one that waits for another attempt", "order", [(DELAYS, DELAYS + OVERTAKES)]),
    Bug(
        "a key goes on behind one that is parked",
        "order",
        [
            ("return string.sub(why, 1, 4) ~= 'skip'", "return false"),
            ("doom(p, behind, 'held', 'behind ' .. id)", "make_ready(p, behind)"),
        ],
    ),
)


class Script:
    """A group's script with something else in it."""

    def __init__(self, redis: Redis, text: str) -> None:
        self._run = redis.register_script(text)

    async def __call__(self, name: str, keys: Sequence[str], args: Sequence[str | bytes | int | float]) -> object:
        """Run it."""
        return await self._run(keys=list(keys), args=list(args))


class Play:
    """A group of one partition, and all that happens to it. Time is the number of the step."""

    def __init__(self, redis: Redis, text: str) -> None:
        self.name = f"t{uuid.uuid4().hex[:12]}"
        self.redis = redis
        self.group = SharedGroup(redis, self.name, "g", 1, SPEC)
        self.group._script = Script(redis, text)  # type: ignore[assignment]  # it is run as Scripts are
        self.course = Course({(0, offset): f"k{offset % KEYS}" for offset in range(RECORDS)})
        self.dead: set[Record] = set()
        self.stopped: set[str | None] = set()
        self.floor = 0
        self.step = count()
        self.epoch = ""

    async def take(self) -> None:
        """Somebody dispatches, from the position that is recorded."""
        self.epoch = uuid.uuid4().hex
        _, start = await self.group.take(0, self.epoch, self.floor, uuid.uuid4().hex)
        fresh = [offset for offset in range(start, RECORDS) if self.wanted(offset)]
        entries = [Entry(Origin("t", 0, offset), self.key(offset).encode(), b"{}", [], 0) for offset in fresh]
        await self.group.dispatch(0, self.epoch, start, RECORDS, entries)
        self.dead |= {(0, o) for o in range(start, RECORDS) if self.key(o) in self.stopped}

    def wanted(self, offset: int) -> bool:
        """Whether it goes to the group: not when its key is parked, or it is dead already."""
        return self.key(offset) not in self.stopped and (0, offset) not in self.dead

    def key(self, offset: int) -> str:
        """The key of a record."""
        return f"k{offset % KEYS}"

    async def tick(self) -> None:
        """What the dispatcher does now and then."""
        told = await self.group.tick(0, self.epoch)
        await self.group.give_up(0, self.epoch, told.doomed)
        for one in told.doomed:
            self.dead.add((0, one.entry.origin.offset))
            self.stopped.add(self.key(one.entry.origin.offset))
        self.floor = told.floor

    async def flush(self) -> None:
        """Redis loses the group; somebody takes it anew."""
        keys = [key async for key in self.redis.scan_iter(f"{self.name}:*")]
        await self.redis.unlink(*keys)
        await self.take()

    def handle(self, one: Delivery) -> None:
        """A handler succeeds."""
        now = float(next(self.step))
        self.course.handled.append(Handled((0, one.entry.origin.offset), now, now + 0.5))

    async def lease_ends(self, one: Delivery) -> None:
        """Nobody has renewed it."""
        await self.redis.zadd(f"{self.name}:{{group:g:1}}:lease:0", {one.token.entry: 1})
        await self.tick()

    async def run(self) -> Course:
        """Everything that happens, in the same order each time."""
        await self.take()
        held = await self.group.fetch("m", KEYS)
        for number, one in enumerate(held):  # of the four keys one each: acknowledged, silent, failed, given up
            await (self.acked, self.silent, self.failed, self.given_up)[number](one)
        await self.flush()
        for _ in range(ROUNDS):
            await self.tick()
            for one in await self.group.fetch("m", 10):
                await self.acked(one)
            if self.floor >= RECORDS:
                break
        self.course.dead = frozenset(self.dead)
        await self.group.remove(1)
        return self.course

    async def acked(self, one: Delivery) -> None:
        """As it should be."""
        self.handle(one)
        await self.group.conclude([Verdict(one.token, "ack")])

    async def silent(self, one: Delivery) -> None:
        """The member has died. One that lost it in the same way before says that he has passed it over: too late."""
        await self.lease_ends(one)
        await self.group.conclude([Verdict(one.token, "skip", cause="too late")])
        told = await self.group.tick(0, self.epoch)
        await self.group.give_up(0, self.epoch, told.doomed)
        self.floor = (await self.group.tick(0, self.epoch)).floor

    async def failed(self, one: Delivery) -> None:
        """An attempt failed; the others of its key wait."""
        await self.group.conclude([Verdict(one.token, "retry", 3600.0)])
        for other in await self.group.fetch("m", 10):
            await self.acked(other)

    async def given_up(self, one: Delivery) -> None:
        """It goes to the dead letters, and its key stops."""
        await self.group.conclude([Verdict(one.token, "park")])
        told = await self.group.tick(0, self.epoch)
        await self.group.give_up(0, self.epoch, told.doomed)
        self.dead |= {(0, gone.entry.origin.offset) for gone in told.doomed}
        self.stopped.add(self.key(one.entry.origin.offset))
        for other in await self.group.fetch("m", 10):
            await self.acked(other)


async def show(redis_url: str) -> Invariant:
    """The course as it is breaks no rule, and with each bug in it the rule that it should."""
    redis = connect(RedisSettings(url=redis_url), "seeded")
    found = check(await Play(redis, SOURCE).run())
    wrong = [f"without a bug {rule} is broken: {what[0]}" for rule, what in found.items() if what]
    courses = [(bug, await Play(redis, bug.text()).run()) for bug in BUGS]
    wrong += [f"not found: {bug.name}" for bug, course in courses if not check(course)[bug.rule]]
    await redis.aclose()
    return Invariant("broker.groups.seeded", RECORDS * (len(BUGS) + 1), len(BUGS), wrong)
