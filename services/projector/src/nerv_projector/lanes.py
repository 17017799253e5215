# SPDX-License-Identifier: Apache-2.0
"""A lane carries records from Kafka through a Faust channel to the agent that works on them, one batch after the other."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from nerv.cancelling import end
from nerv.errors import NervError, Retry, Unavailable
from nerv.kafka import BatchConsumer, KafkaSettings, Received
from nerv.protocols.views import Epoch

Partition = tuple[str, int]

TICK_SECONDS = 0.1  # how often a lane looks whether it has come to the end of its partitions
LINGER_SECONDS = 0.005  # how long the first record of a batch waits for others: views are late by no more
STOP_SECONDS = 4.0  # how long a batch in hand may take to end; a group gives a member 6 s to let go


class StartOver(Unavailable):
    """What is in memory no longer holds: go back to the cursors and begin again from there. Nothing was written."""

    title = "Starting over"


class Session(Protocol):
    """A hop at work on a set of partitions in one epoch. Its memory dies with it; `take` and `rest` never run together."""

    def attach(self, consumer: BatchConsumer) -> None:
        """The consumer that feeds it, before it does."""
        ...

    async def take(self, records: list[Received]) -> None:
        """Work on a batch until it is durable, cursors included. The list is the session's own, which may empty it. Raises
        StartOver, or what Kafka or Redis met.
        """
        ...

    def at_end(self, ended: Mapping[Partition, int]) -> bool:
        """Whether `rest` has something to do: a partition ends in marks that no consumer sees."""
        ...

    async def rest(self, ended: Mapping[Partition, int]) -> None:
        """Move the cursors over the marks at the end, so that the lag becomes exactly 0."""
        ...

    async def close(self) -> None:
        """Let go of what the session holds."""
        ...


class Hop(Protocol):
    """One step of a projection: rekey, or fold."""

    @property
    def name(self) -> str:
        """What agent, clients and spans are called by."""
        ...

    def group(self, epoch: Epoch) -> str:
        """The consumer group in whose name it reads."""
        ...

    async def open(self, epoch: Epoch, partitions: frozenset[int]) -> tuple[Session, Mapping[Partition, int]]:
        """A session, and the offsets from which it is to be fed."""
        ...


@dataclass(slots=True)
class Handover:
    """Work for the agent, and what became of it."""

    begin: Callable[[], Awaitable[None]]
    done: "asyncio.Future[None]"

    async def work(self) -> None:
        """Do it, and say so. Raises only what the service cannot go on after."""
        if self.done.done():
            return  # the lane was stopped while this waited in the channel
        try:
            await self.begin()
        except NervError as error:
            if error.retry is Retry.NEVER:
                raise
            self._settle(error)
        else:
            self._settle(None)

    def _settle(self, error: NervError | None) -> None:
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


Send = Callable[[Handover], Awaitable[None]]


class Lane:
    """The consumer of one hop, and the feeding of its agent by `send`. `failed` is set by the runner."""

    def __init__(self, hop: Hop, kafka: KafkaSettings, client_id: str, batch: int, send: Send) -> None:
        self.hop = hop
        self.consumer: BatchConsumer | None = None
        self.send = send
        self.failed: Callable[[Exception], None] | None = None  # told why it cannot go on
        self._kafka, self._client_id, self._batch = kafka, client_id, batch
        self._stack: AsyncExitStack | None = None
        self._in_hand: asyncio.Future[None] | None = None
        self._turn = asyncio.Lock()

    async def start(self, epoch: Epoch, partitions: frozenset[int]) -> None:
        """Open a session on these partitions and feed it."""
        async with AsyncExitStack() as stack:
            session, starts = await self.hop.open(epoch, partitions)
            stack.push_async_callback(session.close)
            self.consumer = await stack.enter_async_context(
                BatchConsumer(
                    self._kafka,
                    self._client_id,
                    self.hop.group(epoch),
                    assign=starts,
                    batch=self._batch,
                    eager=True,
                    linger=LINGER_SECONDS,
                    ends=True,
                )
            )
            session.attach(self.consumer)
            for work in (self._feed(session, self.consumer), self._tick(session, self.consumer)):
                stack.push_async_callback(end, asyncio.create_task(self._watch(work), name=self.hop.name))
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        """End the session: the batch in hand is finished if that is soon, else left to be refused by its cursor."""
        stack, self._stack, self.consumer = self._stack, None, None
        if stack is None:
            return
        if self._in_hand is not None and not self._in_hand.done():
            await asyncio.wait({self._in_hand}, timeout=STOP_SECONDS)
            self._in_hand.cancel()
        await stack.aclose()

    async def _watch(self, work: Any) -> None:
        try:
            await work
        except Exception as error:
            if self.failed is not None:
                self.failed(error)

    async def _feed(self, session: Session, consumer: BatchConsumer) -> None:
        async for records in consumer.batches():
            await self._submit(partial(session.take, records))

    async def _tick(self, session: Session, consumer: BatchConsumer) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            if not self._turn.locked() and session.at_end(consumer.ended):
                await self._submit(partial(session.rest, dict(consumer.ended)))

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something between two batches. Raises what it met.

        After what may pass the lane starts over, as after a batch; what is refused concerns the caller alone.
        """
        if self._stack is None:
            raise Unavailable(f"{self.hop.name} does not run here now", retry_after=0.5)
        refused: list[NervError] = []

        async def begin() -> None:
            try:
                await work()
            except NervError as error:
                if error.retry is not Retry.NEVER:
                    raise
                refused.append(error)

        try:
            await self._submit(begin)
        except NervError as error:
            if self.failed is not None:
                self.failed(error)
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise Unavailable(f"{self.hop.name} was stopped meanwhile", retry_after=0.5) from None
        if refused:
            raise refused[0]

    async def _submit(self, work: Callable[[], Awaitable[None]]) -> None:
        async with self._turn:
            done = self._in_hand = asyncio.get_running_loop().create_future()
            await self.send(Handover(work, done))
            await done
