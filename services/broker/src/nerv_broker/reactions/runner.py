# SPDX-License-Identifier: Apache-2.0
"""Run the reactions: batches in, effects performed, one transaction a batch that ends it.

Died before the transaction: the batch comes again, and the ids of its effects make what was done not happen twice. The
publishes and dead letters are in the transaction itself, with the offsets: both or neither.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from types import TracebackType
from typing import Any, Self

import structlog

from nerv.app import App
from nerv.cancelling import end
from nerv.client import Client
from nerv.errors import NervError, Unavailable
from nerv.kafka import BatchConsumer, Received, TransactionalProducer
from nerv.kafka.deadletters import count_letters
from nerv.kafka.lagging import Behind
from nerv.telemetry import by_topic, process_spans, processed
from nerv.topics import full
from nerv.types import Event
from nerv_broker.deadletters.reading import LetterBox
from nerv_broker.middleware import Chains
from nerv_broker.model import describe
from nerv_broker.reactions.answers import Answer
from nerv_broker.reactions.batch import Ending
from nerv_broker.reactions.parking import NameTaken, Parks
from nerv_broker.reactions.performing import Performer
from nerv_broker.reactions.planning import Planner
from nerv_broker.reactions.replayer import Replayer
from nerv_broker.settings import BrokerSettings

log = structlog.get_logger(__name__)

FIRST_PAUSE = 0.2  # s, doubled with each round that failed
LONGEST_PAUSE = 5.0
REVOKE_SECONDS = 4.0  # for the batch in hand to end, below the time in which the group gives up on us
UNDER_WAY = 2  # batches: while the effects of one are performed, the next is decoded
LOOK_SECONDS = 0.5  # how often it looks whether a partition ends with marks of transactions
CHUNK = 100  # events reacted to before the loop may do something else


class Reactions:
    """The member of the group `<mesh>.broker` that runs the app's reactions. Use as `async with`."""

    def __init__(self, settings: BrokerSettings, app: App, client: Client, chains: Chains) -> None:
        self._settings, self._client = settings, client
        self._planner = Planner(app, chains, settings.limits, settings.mesh)
        self._performer = Performer(app, client, settings.broker)
        self._reactions = [(reaction.name, full(settings.mesh, reaction.topic)) for reaction in app.reactions.values()]
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._fault: str | None = None
        self.behind = Behind(settings.group)
        self.crashed: asyncio.Future[None] | None = None
        for name, topic in self._reactions:
            count_letters(topic, name, 0)

    async def __aenter__(self) -> Self:
        if self._planner.topics:
            self._task = asyncio.create_task(self._run(), name="reactions")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait({self._task})

    def fault(self) -> str | None:
        """Why events are not reacted to at this moment, or None."""
        return self._fault or self._performer.waiting

    async def _run(self) -> None:
        """Rounds, each a membership of the group. A round ends with an error or with the service."""
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            try:
                async with self._round() as round_:
                    self._fault = None
                    await round_.work(self._stopping)
                pause = FIRST_PAUSE
            except NameTaken as error:
                self._fault = str(error)
                self._crash(error)
                return
            except NervError as error:
                self._fault = str(error)
                log.warning("reactions.again", error=str(error))
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), pause * random.uniform(0.5, 1.0))  # noqa: S311
                pause = min(2 * pause, LONGEST_PAUSE)
            except Exception as error:
                log.exception("reactions.crashed")
                self._crash(error)
                return

    def _crash(self, error: Exception) -> None:
        if self.crashed is not None and not self.crashed.done():
            self.crashed.set_exception(error)

    @asynccontextmanager
    async def _round(self) -> AsyncIterator["_Round"]:
        settings = self._settings
        name = f"broker-{settings.instance}"
        producer = TransactionalProducer(
            settings.kafka, f"{settings.group}/{name}", f"{name}-reactions", destination=settings.group
        )
        try:
            await producer.start()
            async with Parks(self._client.streams, self._reactions) as parks:
                ending = Ending(settings.broker, settings.deadletters, self._planner, self._performer, parks, producer)
                box = LetterBox(settings.kafka, name, settings.deadletters)
                replayer = Replayer(self._planner, parks, ending, box)
                self.behind = Behind(settings.group)
                round_ = _Round(settings, self._planner, parks, ending, replayer, self.behind)
                consumer = BatchConsumer(
                    settings.kafka,
                    f"{name}-reactions",
                    settings.group,
                    topics=self._planner.topics,
                    rebalance=round_,
                    reset="earliest",
                    batch=settings.broker.reaction_batch,
                    ends=True,
                )
                round_.consumer = consumer
                async with consumer:
                    watching = asyncio.create_task(self.behind.watch(consumer), name="reactions-lag")
                    try:
                        yield round_
                    finally:
                        await end(watching)
        finally:
            await producer.close()


class _Round:
    """One membership of the group, with a transactional producer of its own. Implements `nerv.kafka.Rebalance`.

    While the effects of one batch are performed, the next is decoded. `_next` is the offset to go on from in each
    partition that is ours; a record before it, or of another partition, was read before a rebalance and is passed over.
    """

    consumer: BatchConsumer

    def __init__(
        self,
        settings: BrokerSettings,
        planner: Planner,
        parks: Parks,
        ending: Ending,
        replayer: Replayer,
        behind: Behind,
    ) -> None:
        self._behind = behind
        self._settings, self._planner, self._parks = settings, planner, parks
        self._ending, self._replayer = ending, replayer
        self._next: dict[tuple[str, int], int] = {}
        self._under_way: deque[asyncio.Task[None]] = deque()

    async def assigned(self, partitions: set[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Start where the group has committed, or at the beginning."""
        committed = await self.consumer.committed(partitions)
        starts = {partition: committed.get(partition, 0) for partition in partitions}
        self._next |= starts
        self._behind.starts(starts)
        self._ending.committed |= starts
        self._replayer.note(await self.consumer.notes(partitions))
        log.info("reactions.assigned", partitions=sorted(partitions))
        self._parks.nudge()
        return committed

    async def revoked(self, partitions: set[tuple[str, int]], *, lost: bool) -> None:
        """End what is in hand; what does not end in time, or is another's already, is given up and comes again there."""
        log.info("reactions.revoked", partitions=sorted(partitions), lost=lost)
        if self._under_way and not lost:
            await asyncio.wait(set(self._under_way), timeout=REVOKE_SECONDS)
        for task in self._under_way:
            task.cancel()
        for partition in partitions:
            self._next.pop(partition, None)
        self._behind.stops(partitions)
        self._parks.lost(partitions)

    async def work(self, stopping: asyncio.Event) -> None:
        """Until the service stops. Raises a NervError when the round cannot go on."""
        stop = asyncio.ensure_future(stopping.wait())
        batches = self.consumer.batches()
        coming = asyncio.ensure_future(anext(batches))
        decided = asyncio.ensure_future(self._parks.wait())
        try:
            while not stop.done():
                room = len(self._under_way) < UNDER_WAY
                waited: set[asyncio.Future[Any]] = {stop, *self._under_way, *((coming, decided) if room else ())}
                await asyncio.wait(waited, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                self._check()
                if not self._under_way and (marks := self._marks()):
                    self._follow(lambda _, marks=marks: self._ending.end((), (), marks, self.consumer))  # type: ignore[misc]
                if stop.done() or len(self._under_way) == UNDER_WAY:
                    continue
                if decided.done():
                    decided = asyncio.ensure_future(self._parks.wait())
                    self._follow(self._replay)
                elif coming.done():
                    batch, coming = coming.result(), asyncio.ensure_future(anext(batches))
                    self._follow(partial(self._batch, batch))
            if self._under_way:
                await asyncio.wait(set(self._under_way), timeout=REVOKE_SECONDS)
        finally:
            ending: list[asyncio.Future[Any]] = [stop, decided, coming, *self._under_way]
            for task in ending:
                task.cancel()
            await asyncio.wait(ending)

    def _marks(self) -> dict[tuple[str, int], int]:
        """What ends our partitions and is no event: marks of transactions, which nobody else would commit."""
        ends = {p: end for p, end in self.consumer.ended.items() if self._next.get(p, end) < end}
        self._next |= ends
        self._behind.settles(ends)
        return ends

    def _follow(self, work: Callable[["asyncio.Task[None] | None"], Coroutine[Any, Any, None]]) -> None:
        """Begin this; it waits for what is under way where it has to."""
        self._under_way.append(asyncio.create_task(work(self._under_way[-1] if self._under_way else None)))

    def _check(self) -> None:
        """What became of a batch; one that was given up voids the round, for nobody knows whether it committed."""
        while self._under_way and self._under_way[0].done():
            task = self._under_way.popleft()
            if task.cancelled():
                raise Unavailable("a batch was given up for a rebalance; it comes again")
            task.result()

    async def _batch(self, batch: Sequence[Received], before: asyncio.Task[None] | None) -> None:
        """React, then wait for what is before, then perform and commit."""
        mine = [r for r in batch if r.offset() >= self._next.get((r.topic(), r.partition()), 2**63)]
        if not mine:
            return
        offsets = {(r.topic(), r.partition()): r.offset() + 1 for r in mine}
        self._next |= offsets
        self._behind.reads(offsets, mine[0].timestamp()[1])
        events, rubbish = self._read(mine)
        answers: list[Answer] = []
        spans = process_spans(mine[0].topic(), self._settings.group, events)
        with processed(self._settings.group, by_topic(mine, {topic for topic, _ in offsets})), spans as passed:
            for start in range(0, len(events), CHUNK):
                answers += self._planner.answers(events[start : start + CHUNK], passed)
                await asyncio.sleep(0)
            if before is not None:
                await asyncio.wait({before})
                before.result()
            await self._ending.end(answers, rubbish, offsets, self.consumer)
        self._behind.settles(offsets)

    def _read(
        self, records: Sequence[Received]
    ) -> tuple[list[tuple[Event[bytes], Received]], list[tuple[Received, str]]]:
        """The events of a batch, and what is none: whatever is wrong with the bytes, the partition goes on (rule 15)."""
        events, rubbish = [], []
        for record in records:
            try:
                events.append((self._planner.event(record), record))
            except Exception as error:  # of whatever kind
                rubbish.append((record, describe(error)))
        return events, rubbish

    async def _replay(self, before: asyncio.Task[None] | None) -> None:
        """Dead letters that somebody wants tried again, behind what is in hand."""
        if before is not None:
            await asyncio.wait({before})
            before.result()
        await self._replayer.run(set(self._next), self.consumer)
