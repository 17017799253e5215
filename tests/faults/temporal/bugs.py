# SPDX-License-Identifier: Apache-2.0
"""Bugs, seeded into the classes that the service runs. Each is the smallest change that makes the mistake."""

from collections.abc import Iterator

from confluent_kafka import Producer as NativeProducer

from nerv.api.event.v1 import event_pb2
from nerv.errors import NervError
from nerv.history import Known
from nerv.kafka import CommitFailed, FencedWriter, Outgoing
from nerv.kafka.fenced import INIT_SECONDS
from nerv.kafka.settings import TRANSACTION_TIMEOUT_MS
from nerv_temporal.index import Index
from nerv_temporal.owner.tick import Tick
from nerv_temporal.owner.waiting import Waiting
from nerv_temporal.reads import LogReader
from tests.faults.temporal.duel import DuelOwner, DuelWriter

WINDOW = 3  # events whose ids a forgetful index knows


class AcknowledgesBeforeCommit(DuelOwner):
    """Answers what a transaction will do, not what it has done."""

    async def _commit(self, writer: FencedWriter, tick: Tick) -> int:
        for item, outcome in zip(tick.taken, tick.outcomes(0), strict=True):
            item.resolve(outcome)
        return await super()._commit(writer, tick)


class NoTakeOverAfterTimeOut(DuelOwner):
    """Goes on with the same producers, and does not read what the transaction of unknown end has written."""

    async def _tick(self, writer: FencedWriter, taken: list[Waiting]) -> None:
        try:
            await super()._tick(writer, taken)
        except CommitFailed:
            return  # what was taken is in the queue again, and the next tick takes it


class OneProducerAnew(DuelWriter):
    """A take-over makes only `anew` again; whoever had the other one can still commit."""

    anew = "a"

    def _shut_out(self) -> None:
        self._drop()
        producer = NativeProducer(
            self._settings.producer(f"{self._client_id}-{self.anew}")
            | {
                "transactional.id": f"{self._topic}/{self._partition}/{self.anew}",
                "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
            }
        )
        producer.init_transactions(INIT_SECONDS)
        self._producers = [producer, producer]
        self._turn = 0


class FenceOnBAlone(OneProducerAnew):
    """Reads up to a fence that shuts out only those who write through b."""

    anew = "b"


class EmptyTransactionAsBarrier(DuelOwner):
    """Proves that it is the owner by a transaction without a record, which a fenced producer commits as well."""

    def _outgoing(self, tick: Tick) -> list[Outgoing]:
        return super()._outgoing(tick) if tick.written() else []


class RefusesBeforeCommit(DuelOwner):
    """Tells a refusal as soon as it is decided, on versions that may be stale."""

    async def _commit(self, writer: FencedWriter, tick: Tick) -> int:
        for item, outcome in zip(tick.taken, tick.outcomes(0), strict=True):
            if isinstance(outcome, NervError):
                item.resolve(outcome)
        return await super()._commit(writer, tick)


class ServesStrongReadsUnproven(DuelOwner):
    """Takes itself for the owner because nobody has said otherwise."""

    async def barrier(self) -> None:
        """Proves nothing."""


class EventIdWindow(Index):
    """Forgets ids."""

    def known(self, stream: str, event_id: str) -> Known | None:
        """Only of the last events."""
        found = super().known(stream, event_id)
        return None if found is not None and found.version <= self.version(stream) - WINDOW else found


class IndexAheadOfLog(DuelOwner):
    """Applies what a transaction will write before it is committed."""

    async def _commit(self, writer: FencedWriter, tick: Tick) -> int:
        covered = self._tail.index.partition(self.partition).next_offset
        if written := tick.written():
            self._tail.advance(self.partition, covered, written, covered + len(written))
        return await super()._commit(writer, tick)


class SkipsWhatCameMeanwhile(LogReader):
    """Goes from history to live from where the index is by now, not from where it had read."""

    def resume(self) -> None:
        """Leaves out what lies between."""
        self._ranges = {p: (self._index.partition(p).next_offset,) * 2 for p in self._ranges}
        super().resume()


class NamesTheEventItself(LogReader):
    """Gives each event its own place for a position, not the place after it."""

    def each(self, limit: int) -> Iterator[tuple[str, event_pb2.Event]]:
        """The next events, each with the position that the one before it should have."""
        before = self.position
        for position, event in super().each(limit):
            yield before, event
            before = position


class KnownAtByClock(DuelOwner):
    """Believes that nothing will be recorded before what a clock says now."""

    async def close_at(self, instant_us: int) -> int:
        """Closes nothing."""
        return self._tail.index.partition(self.partition).next_offset - 1
