# SPDX-License-Identifier: Apache-2.0
"""The checker is shown to find bugs: each scenario is run on the service as it is, and on one with the bug in it."""

import asyncio
import tempfile
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from nerv.kafka import KafkaSettings
from nerv.protocols import Expected
from nerv.protocols.history import Expect
from nerv_temporal.index import Index
from nerv_temporal.reads import LogReader
from tests.faults.temporal import bugs
from tests.faults.temporal.checker import check
from tests.faults.temporal.duel import DuelOwner, DuelWriter, Fault, Side, make_topics, request
from tests.faults.temporal.log import final_log
from tests.faults.temporal.operations import Course, Kind, Seen

PAUSE = 0.3  # s in which an owner that makes the mistake has made it


@dataclass(frozen=True, slots=True)
class Parts:
    """The classes that a scenario runs: those of the service, but for the one with the bug."""

    old: type[DuelOwner] = DuelOwner
    new_writer: type[DuelWriter] = DuelWriter
    index: type[Index] = Index
    reader: type[LogReader] = LogReader


Scenario = Callable[[Side, Side, Parts], Awaitable[None]]


async def dies_in_mid_commit(old: Side, new: Side, parts: Parts) -> None:
    """The owner dies before the transaction of an append is committed; another takes over."""
    await old.own(parts.old)
    await old.append(request())
    old.owner.writer.fault = Fault.DIES
    await old.append(request())
    await new.own()
    await new.append(request())


async def reply_is_lost(old: Side, new: Side, parts: Parts) -> None:
    """A transaction is committed, and the owner is told that it timed out."""
    await old.own(parts.old)
    await old.append(request())
    old.stop_reading()
    old.owner.writer.fault = Fault.REPLY_LOST
    appending = asyncio.create_task(old.append(request()))
    await asyncio.sleep(PAUSE)
    old.go_on_reading()
    await appending
    await old.append(request())


async def _deposed(old: Side, new: Side, parts: Parts, appends: int) -> None:
    """The old owner has not heard of the new one, which has written version `appends` + 1."""
    await old.own(parts.old)
    for _ in range(appends):
        await old.append(request())
    old.stop_reading()
    await new.own(writer=parts.new_writer)
    await new.append(request())


async def writes_after_it_was_deposed(old: Side, new: Side, parts: Parts, appends: int) -> None:
    """The old owner appends what its own index allows."""
    await _deposed(old, new, parts, appends)
    appending = asyncio.create_task(old.append(request(Expected(Expect.EXACT, appends))))
    await asyncio.sleep(PAUSE)
    old.go_on_reading()
    await appending
    await new.append(request())


async def deposed_with_b_next(old: Side, new: Side, parts: Parts) -> None:
    """The old owner's next transaction would be on b."""
    await writes_after_it_was_deposed(old, new, parts, 1)


async def deposed_with_a_next(old: Side, new: Side, parts: Parts) -> None:
    """The old owner's next transaction would be on a."""
    await writes_after_it_was_deposed(old, new, parts, 2)


async def answers_after_it_was_deposed(old: Side, new: Side, parts: Parts) -> None:
    """The old owner is asked for a version that the new one has written, and for a strong read."""
    await _deposed(old, new, parts, 1)
    asked = [
        asyncio.create_task(old.append(request(Expected(Expect.EXACT, 2)))),
        asyncio.create_task(old.read(Kind.STRONG)),
    ]
    await asyncio.sleep(PAUSE)
    old.go_on_reading()
    await asyncio.gather(*asked)


async def repeats_an_old_id(old: Side, new: Side, parts: Parts) -> None:
    """An event is sent again after many others."""
    await old.own(parts.old)
    first = request()
    await old.append(first)
    for _ in range(2 * bugs.WINDOW):
        await old.append(request())
    await old.append(request(again=first.events[0]))


async def fails_before_it_is_sent(old: Side, new: Side, parts: Parts) -> None:
    """A transaction fails before anything is written; the index is read, and the append is tried again."""
    await old.own(parts.old)
    await old.append(request())
    old.owner.writer.fault = Fault.FAILS
    await old.append(request())
    await old.read(Kind.DEFAULT)
    await new.own()
    await new.read(Kind.STRONG)
    await new.append(request())


async def is_followed_by_a_slower_clock(old: Side, new: Side, parts: Parts) -> None:
    """An instant is read by the owner's clock; the next owner's clock has not come there yet."""
    await old.own(parts.old)
    await old.append(request())
    await old.read(Kind.KNOWN, old.clock.now())
    await new.own()
    await new.append(request())


async def is_followed_over_cuts(old: Side, new: Side, parts: Parts) -> None:
    """A reader follows at one replica, is cut off, and goes on at the other, while both write."""
    course = Course(None)
    await old.own(parts.old)
    for _ in range(3):
        await old.append(request())
    at = await old.follow(course, None, parts.reader, lambda: old.append(request()))
    await new.own()
    await new.append(request())
    await new.follow(course, at, parts.reader, lambda: new.append(request()))
    course.complete = True
    new.seen.courses.append(course)


@dataclass(frozen=True, slots=True)
class Seed:
    """A bug, and the scenario in which it shows."""

    name: str
    scenario: Scenario
    parts: Parts


SEEDS = (
    Seed("acknowledge-before-commit", dies_in_mid_commit, Parts(old=bugs.AcknowledgesBeforeCommit)),
    Seed("no-take-over-after-a-time-out", reply_is_lost, Parts(old=bugs.NoTakeOverAfterTimeOut)),
    Seed("one-of-two-producers-anew", deposed_with_b_next, Parts(new_writer=bugs.OneProducerAnew)),
    Seed("fence-on-b-alone", deposed_with_a_next, Parts(new_writer=bugs.FenceOnBAlone)),
    Seed("empty-transaction-as-barrier", answers_after_it_was_deposed, Parts(old=bugs.EmptyTransactionAsBarrier)),
    Seed("refusal-before-commit", answers_after_it_was_deposed, Parts(old=bugs.RefusesBeforeCommit)),
    Seed("stale-strong-read", answers_after_it_was_deposed, Parts(old=bugs.ServesStrongReadsUnproven)),
    Seed("event-id-window", repeats_an_old_id, Parts(index=bugs.EventIdWindow)),
    Seed("index-ahead-of-log", fails_before_it_is_sent, Parts(old=bugs.IndexAheadOfLog)),
    Seed("known-at-by-clock", is_followed_by_a_slower_clock, Parts(old=bugs.KnownAtByClock)),
    Seed("skips-what-came-meanwhile", is_followed_over_cuts, Parts(reader=bugs.SkipsWhatCameMeanwhile)),
    Seed("position-of-the-event-itself", is_followed_over_cuts, Parts(reader=bugs.NamesTheEventItself)),
)


@dataclass(slots=True)
class Shown:
    """What the checker said of a scenario without and with its bug."""

    seed: Seed
    operations: int = 0
    without: dict[str, list[str]] = field(default_factory=dict)
    with_bug: dict[str, list[str]] = field(default_factory=dict)

    @property
    def faults(self) -> list[str]:
        """Why the checker is not to be trusted."""
        innocent = [f"{self.seed.name}: without the bug: {one}" for one in chain.from_iterable(self.without.values())]
        return innocent or ([] if any(self.with_bug.values()) else [f"{self.seed.name} is not found"])


async def show(seed: Seed, kafka: KafkaSettings) -> Shown:
    """Run a scenario without and with its bug."""
    shown = Shown(seed)
    good, bad = await _run(seed.scenario, Parts(), kafka), await _run(seed.scenario, seed.parts, kafka)
    shown.without, shown.with_bug = good[1], bad[1]
    shown.operations = good[0] + bad[0]
    return shown


async def _run(scenario: Scenario, parts: Parts, kafka: KafkaSettings) -> tuple[int, dict[str, list[str]]]:
    mesh, seen = f"d{uuid.uuid4().hex[:8]}", Seen()
    await make_topics(mesh, kafka)
    with tempfile.TemporaryDirectory(prefix="nerv-duel-") as folder:
        async with AsyncExitStack() as stack:
            old = Side("old", mesh, kafka, Path(folder), seen, index=parts.index, skew=30.0)
            new = Side("new", mesh, kafka, Path(folder), seen, index=parts.index)
            for side in (old, new):
                await stack.enter_async_context(side)
            await scenario(old, new, parts)
    return seen.count, check(seen, (await final_log(kafka, f"{mesh}.history.v1", 1)).log)
