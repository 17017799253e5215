# SPDX-License-Identifier: Apache-2.0
"""The checker is shown to find bugs: one course of a fold, on `apply.lua` as it is and with a bug in it.

Owners that are deposed, die and come back are played here, on a real Redis and without Kafka, so that the same things happen in
each.
"""

import contextlib
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import nerv
from nerv.errors import Internal
from nerv.projections import Projection
from nerv.projections.indexes import member, span
from nerv.protocols.views import Cursor, Epoch
from nerv.redis import RedisSettings, connect
from nerv.redis.connection import Redis
from nerv_projector.folding import FoldHop
from nerv_projector.lanes import Session, StartOver
from nerv_projector.views import RedisViews
from tests.faults.verdict import Invariant
from tests.unit.projector.records_in_memory import Kept, Record, Told, event, record

SOURCE = files("nerv_projector.views").joinpath("apply.lua").read_text(encoding="utf-8")
EVENTS, KEYS = 60, 5
HISTORY = "m.history.v1"

app = nerv.App("seeded")


@app.event("counted.v1")
class Counted(nerv.Event):
    """One more."""


@app.projection("count", on=["counted.v1"], category="c", indexes={"so_many": nerv.Index(lambda state: state, int)})
def count(state: int | None, event: Counted) -> int:
    """How many."""
    return (state or 0) + 1


@dataclass(frozen=True, slots=True)
class Bug:
    """A bug in the script: what stands there instead, and the rule that is broken by it."""

    name: str
    rule: str
    right: str
    wrong: str

    def text(self) -> str:
        """The script with the bug in it."""
        if SOURCE.count(self.right) != 1:
            raise Internal(f"the bug {self.name!r} is not where it was in apply.lua: {self.right!r}")
        return SOURCE.replace(self.right, self.wrong)


BUGS = (
    Bug("the cursor is not compared", "folded", "if redis.call('HGET', KEYS[2], ARGV[at]) ~= ARGV[at + 1] then", "if false then"),
    Bug("the cursor is not moved", "folded", "redis.call('HSET', KEYS[2], ARGV[move], ARGV[move + 2])", ""),
    Bug("a view that is there is not written again", "folded", "KEYS[number], view, 'GET')", "KEYS[number], view, 'NX', 'GET')"),
    Bug("a key is not listed", "listed", "together('ZADD', KEYS[3], names)", "together('ZADD', KEYS[3], {unpack(names, 3)})"),
    Bug("what a view was found by stays in the index", "found", "together('ZREM', KEYS[5], gone)", ""),
    Bug("what a view is found by is not in the index", "found", "together('ZADD', KEYS[5], come)", ""),
    Bug("events are not counted", "counted", "redis.call('HINCRBY', KEYS[4], 'folded', folded)", ""),
)  # fmt: skip


class Play:
    """A log of one partition, and the owners that fold it, one after the other and against each other."""

    def __init__(self, redis: Redis, text: str) -> None:
        self.views = RedisViews(redis, f"t{uuid.uuid4().hex[:12]}", "count")
        self.views._scripts._scripts["apply"] = redis.register_script(text)
        projection: Projection[Any] = Projection(app, app.projections["count"])
        self.hop = FoldHop(projection, self.views, Kept(), Told(), HISTORY, "t", 100)
        self.epoch = Epoch("e", {HISTORY: "id"}, indexes={"so_many": "how"})
        self.log = [record(event("counted.v1", f"c-{n % KEYS}", {}, n + 1), offset=n) for n in range(EVENTS)]

    async def owner(self) -> tuple[Session, int]:
        """Somebody takes over, and where he begins."""
        session, starts = await self.hop.open(self.epoch, frozenset({0}))
        return session, starts[HISTORY, 0]

    async def settle(self, session: Session, records: Sequence[Record]) -> None:
        """Fold these and have them written, if that is allowed."""
        with contextlib.suppress(StartOver):
            await session.take([*records])
            await session.rest({})

    async def run(self) -> dict[str, list[str]]:
        """Everything that happens, in the same order each time; what is wrong in the end, by rule."""
        await self.views.begin(self.epoch, {0: Cursor("id", 0)}, instead_of=None)
        first, start = await self.owner()
        await self.settle(first, self.log[start:20])
        second, start = await self.owner()  # the first does not know it yet
        await self.settle(second, self.log[start:40])
        await self.settle(first, self.log[20:22])  # two of the keys
        third, start = await self.owner()  # the second has died, and nobody knows what became of its last batch
        await self.settle(third, self.log[start:50])
        fourth, start = await self.owner()
        await self.settle(fourth, self.log[start:])
        views = dict(await self.views.page(self.epoch, None, 100))
        index = [one for one, _ in await self.views.page(self.epoch, None, 100, span("so_many", int))]
        found = self.wrong(views, await self.views.progress(self.epoch))
        entries = sorted(member(entry, key).decode() for key, view in views.items() for entry in view.index)
        found["found"] = [] if index == entries else [f"the index holds {index}, and the views say {entries}"]
        await self.views.discard()
        return found

    def wrong(self, views: dict[str, Any], progress: Any) -> dict[str, list[str]]:
        """What does not equal the fold of the log."""
        expected = Counter(str(n % KEYS) for n in range(EVENTS))
        states = {key: int(view.state) for key, view in views.items()}
        return {
            "folded": [f"{k} is {n}, not {expected[k]}" for k, n in states.items() if n != expected[k]],
            "listed": [f"{key} is not listed" for key in expected if key not in states],
            "counted": [] if progress.folded == EVENTS else [f"{progress.folded} events are counted, not {EVENTS}"],
        }


async def show(redis_url: str) -> Invariant:
    """The course as it is breaks no rule, and with each bug in it the rule that it should."""
    redis = connect(RedisSettings(url=redis_url), "seeded")
    found = await Play(redis, SOURCE).run()
    complaints = [f"without a bug: {complaint}" for wrong in found.values() for complaint in wrong]
    courses = [(bug, await Play(redis, bug.text()).run()) for bug in BUGS]
    complaints += [f"not found: {bug.name}" for bug, broken in courses if not broken[bug.rule]]
    await redis.aclose()
    return Invariant("projector.seeded_bugs", (1 + len(BUGS)) * EVENTS, len(BUGS), complaints)
