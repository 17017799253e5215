# SPDX-License-Identifier: Apache-2.0
"""Run the reactions: batches in, effects performed, one transaction a batch that ends it.

Died before the transaction: the batch comes again, and the ids of its effects make what was done not happen twice. The
publishes and dead letters are in the transaction itself, with the offsets: both or neither.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Self

import structlog

from nerv.app import App
from nerv.client import Client
from nerv.errors import NervError, Unavailable
from nerv.kafka import BatchConsumer, Received, TransactionalProducer
from nerv.telemetry import process_spans
from nerv_broker.reactions.performing import Performer
from nerv_broker.reactions.planning import Plan, Planner
from nerv_broker.settings import BrokerSettings

log = structlog.get_logger(__name__)

FIRST_PAUSE = 0.2  # s, doubled with each round that failed
LONGEST_PAUSE = 5.0
REVOKE_SECONDS = 4.0  # for the batch in hand to end, below the time in which the group gives up on us
CHUNK = 100  # events reacted to before the loop may do something else


class Reactions:
    """The member of the group `<mesh>.broker` that runs the app's reactions. Use as `async with`."""

    def __init__(self, settings: BrokerSettings, app: App, client: Client) -> None:
        self._settings = settings
        self._planner = Planner(app)
        self._performer = Performer(client, settings.broker)
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._fault: str | None = None
        self.crashed: asyncio.Future[None] | None = None

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
            except NervError as error:
                self._fault = str(error)
                log.warning("reactions.again", error=str(error))
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), pause * random.uniform(0.5, 1.0))  # noqa: S311
                pause = min(2 * pause, LONGEST_PAUSE)
            except Exception as error:
                log.exception("reactions.crashed")
                if self.crashed is not None and not self.crashed.done():
                    self.crashed.set_exception(error)
                return

    @asynccontextmanager
    async def _round(self) -> AsyncIterator["_Round"]:
        name = f"broker-{self._settings.instance}"
        producer = TransactionalProducer(self._settings.kafka, f"{self._settings.group}/{name}", f"{name}-reactions")
        try:
            await producer.start()
            round_ = _Round(self._settings, self._planner, self._performer, producer)
            consumer = BatchConsumer(
                self._settings.kafka,
                f"{name}-reactions",
                self._settings.group,
                topics=self._planner.topics,
                rebalance=round_,
                reset="earliest",
                batch=self._settings.broker.reaction_batch,
            )
            round_.consumer = consumer
            async with consumer:
                yield round_
        finally:
            await producer.close()


class _Round:
    """One membership of the group, with a transactional producer of its own. Implements `nerv.kafka.Rebalance`.

    While the effects of one batch are performed, the next is decoded. `_next` is the offset to go on from in each
    partition that is ours; a record before it, or of another partition, was read before a rebalance and is passed over.
    """

    consumer: BatchConsumer

    def __init__(
        self, settings: BrokerSettings, planner: Planner, performer: Performer, producer: TransactionalProducer
    ) -> None:
        self._settings, self._planner, self._performer, self._producer = settings, planner, performer, producer
        self._next: dict[tuple[str, int], int] = {}
        self._in_hand: asyncio.Task[None] | None = None

    async def assigned(self, partitions: set[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Start where the group has committed, or at the beginning."""
        committed = await self.consumer.committed(partitions)
        self._next |= {partition: committed.get(partition, 0) for partition in partitions}
        log.info("reactions.assigned", partitions=sorted(partitions))
        return committed

    async def revoked(self, partitions: set[tuple[str, int]], *, lost: bool) -> None:
        """End what is in hand; what does not end in time, or is another's already, is given up and comes again there."""
        log.info("reactions.revoked", partitions=sorted(partitions), lost=lost)
        in_hand = self._in_hand
        if in_hand is not None and not in_hand.done():
            if not lost:
                await asyncio.wait({in_hand}, timeout=REVOKE_SECONDS)
            in_hand.cancel()
        for partition in partitions:
            self._next.pop(partition, None)

    async def work(self, stopping: asyncio.Event) -> None:
        """Until the service stops. Raises a NervError when the round cannot go on."""
        stop = asyncio.ensure_future(stopping.wait())
        batches = self.consumer.batches()
        coming: asyncio.Future[list[Received]] | None = None
        try:
            while not stop.done():
                coming = asyncio.ensure_future(anext(batches))
                await asyncio.wait({coming, stop, *self._unfinished()}, return_when=asyncio.FIRST_COMPLETED)
                while not coming.done() and not stop.done():
                    await self._check()
                    await asyncio.wait({coming, stop, *self._unfinished()}, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    break
                before = self._in_hand
                self._in_hand = asyncio.create_task(self._batch(coming.result(), before))
                await asyncio.sleep(0)
                if before is not None:
                    await self._ended(before)
            if self._in_hand is not None:
                await asyncio.wait({self._in_hand}, timeout=REVOKE_SECONDS)
        finally:
            stop.cancel()
            for task in (coming, self._in_hand):
                if task is not None and not task.done():
                    task.cancel()
                    await asyncio.wait({task})

    def _unfinished(self) -> set[asyncio.Task[None]]:
        return {self._in_hand} if self._in_hand is not None and not self._in_hand.done() else set()

    async def _check(self) -> None:
        if self._in_hand is not None and self._in_hand.done():
            done, self._in_hand = self._in_hand, None
            await self._ended(done)

    async def _ended(self, task: asyncio.Task[None]) -> None:
        """Wait for a batch; one that was given up voids the round, for nobody knows whether it committed."""
        await asyncio.wait({task})
        if task.cancelled():
            raise Unavailable("a batch was given up for a rebalance; it comes again")
        task.result()

    async def _batch(self, batch: Sequence[Received], before: asyncio.Task[None] | None) -> None:
        """React, then wait for the batch before, then perform and commit."""
        mine = [r for r in batch if r.offset() >= self._next.get((r.topic(), r.partition()), 2**63)]
        if not mine:
            return
        plan = Plan()
        events = self._planner.read(mine, plan)
        self._next |= plan.offsets
        with process_spans(mine[0].topic(), self._settings.group, (event for event, _ in events)) as passed:
            for start in range(0, len(events), CHUNK):
                for event, record in events[start : start + CHUNK]:
                    self._planner.react(event, record, passed, plan)
                await asyncio.sleep(0)
            if before is not None:
                await asyncio.wait({before})
                before.result()
            await self._performer.perform(plan)
            await self._producer.commit(plan.outgoing(self._settings.deadletters), plan.offsets, self.consumer)
        for letter in plan.letters:
            log.error("poison", by=letter.by, cause=letter.cause)
