# SPDX-License-Identifier: Apache-2.0
"""The owner of a partition of receipts: it alone publishes, once, what belongs to the keys of that partition."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from nerv.api.event.v1 import publish_pb2
from nerv.cancelling import end
from nerv.cloudevents import to_headers
from nerv.errors import NervError
from nerv.kafka import FencedWriter, Outgoing, Position, RecordsRefused
from nerv.kafka.deadletters import door_letter
from nerv.kafka.owning import Owner, Ownership, Waiting
from nerv.protocols import Clock
from nerv.telemetry import names as n
from nerv.telemetry import span_of_all, traced
from nerv_broker.publishing.counting import count_published
from nerv_broker.publishing.judging import Outcome, Placed, Plan, Publication, Receipt, Verdict, placed_at, plan
from nerv_broker.publishing.receipts import Receipts

# The topic forgets after 24 h, and what stands in it tells where the owner is: a partition in which nothing is published says it
# again so often.
STILL_HERE_SECONDS = 3600.0


@dataclass(eq=False, slots=True)
class Asked(Waiting):
    """Publications of one request that wait for a transaction; without any it says that the owner is still here."""

    publications: Sequence[Publication] = ()


class PublicationOwner(Owner[Asked]):
    """One transaction a tick: the events, and the receipts by which a repeat is known."""

    def __init__(
        self,
        ownership: Ownership,
        partition: int,
        clock: Clock,
        crash: Callable[[Exception], None],
        receipts: Receipts,
    ) -> None:
        self._receipts = receipts
        # By first id, until all that was taken with them is answered: what Kafka may have refused, and what it surely did.
        self._suspects: set[bytes] = set()
        self._refused: dict[bytes, NervError] = {}
        super().__init__(ownership, partition, clock, crash)

    async def publish(self, publications: Sequence[Publication]) -> list[Outcome]:
        """Publish in the next transaction. Outcomes in order; those of events that are known say where they stand."""
        size = sum([len(one.event.data) for one in publications])
        [outcomes] = await self._ask([Asked(self._future(), len(publications), size, publications=publications)])
        return [outcomes] * len(publications) if isinstance(outcomes, NervError) else outcomes

    async def _read_up_to(self, offset: int, seconds: float) -> None:
        await self._receipts.follower.reached(self.partition, offset, seconds)

    @asynccontextmanager
    async def _while_serving(self) -> AsyncIterator[None]:
        telling = asyncio.create_task(self._tell())
        try:
            yield
        finally:
            await end(telling)

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(STILL_HERE_SECONDS)
            self._queue.put(Asked(self._future()))

    async def _write(self, writer: FencedWriter, taken: list[Asked]) -> list[Any]:
        asked = [one for item in taken for one in item.publications]
        made = plan(asked, self._receipts.window(self.partition).get)
        if made.written or any(not item.publications for item in taken):
            placed = await self._traced(writer, made)
        else:
            placed = []  # all is known, and that it is was committed by whoever wrote it
        outcomes = iter([_outcome(verdict, placed) for verdict in made.verdicts])
        return [[next(outcomes) for _ in item.publications] for item in taken]

    async def _traced(self, writer: FencedWriter, made: Plan) -> list[Outcome]:
        topic = self._ownership.topic
        told: dict[str, AttributeValue] = {
            n.SYSTEM: n.KAFKA,
            n.OPERATION_NAME: "commit",
            n.OPERATION_TYPE: "settle",
            n.DESTINATION: topic,
            n.PARTITION: str(self.partition),
            n.BATCH_COUNT: len(made.written),
        }
        with span_of_all(
            n.commit(topic), SpanKind.CLIENT, traced([one.event for one in made.written]), told
        ) as current:
            placed = await self._place(writer, made.written)
            if current.is_recording():
                current.set_attributes(placed_at(placed))
            return placed

    async def _place(self, writer: FencedWriter, publications: Sequence[Publication]) -> list[Outcome]:
        """Write them, in order, as one transaction; those that Kafka may have refused each as one of its own."""
        placed: list[Outcome] = []
        for run in self._runs(publications):
            refused = self._refused.get(run[0].ids[0]) if len(run) == 1 else None
            placed += [refused] if refused is not None else await self._transaction(writer, run)
        self._suspects.clear()
        self._refused.clear()
        return placed

    def _runs(self, publications: Sequence[Publication]) -> Iterator[list[Publication]]:
        run: list[Publication] = []
        for one in publications:
            if one.ids[0] not in self._suspects:
                run.append(one)
                continue
            yield from [run, [one]] if run else [[one]]
            run = []
        if run or not publications:
            yield run

    async def _transaction(self, writer: FencedWriter, publications: Sequence[Publication]) -> list[Outcome]:
        records = [self._outgoing(one) for one in publications]
        try:
            places = await writer.place(records, lambda found: [self._record(publications, found)])
        except RecordsRefused as refused:
            names = [publications[index].ids[0] for index in refused.by_index]
            self._suspects.update(names)
            if len(publications) == 1:
                self._refused[names[0]] = refused.by_index[0]
            raise
        window = self._receipts.window(self.partition)
        for one, place in zip(publications, places, strict=True):
            window.add(one.ids, Receipt(one.digest, *place))
        count_published(publications)
        return [Placed(*place) for place in places]

    def _outgoing(self, one: Publication) -> Outgoing:
        if one.unfit is None:
            return Outgoing(one.topic, one.event.data, one.key, to_headers(one.event))
        return door_letter(one.topic, one.event, one.key, one.unfit).outgoing(self._receipts.deadletters)

    def _record(self, publications: Sequence[Publication], places: Sequence[Position]) -> Outgoing:
        message = publish_pb2.Receipts(address=self._ownership.address)
        for one, place in zip(publications, places, strict=True):
            message.receipts.add(
                ids=one.ids, digest=one.digest, topic=place.topic, partition=place.partition, offset=place.offset
            )
        return Outgoing(self._ownership.topic, message.SerializeToString(), None, (), self.partition)


def _outcome(verdict: Verdict, placed: Sequence[Outcome]) -> Outcome:
    return placed[verdict] if isinstance(verdict, int) else verdict
