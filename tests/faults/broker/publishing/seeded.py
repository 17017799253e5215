# SPDX-License-Identifier: Apache-2.0
"""The checker is shown to find seeded bugs: each scenario is run with the broker's own owners, and with one that has the bug."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from itertools import chain
from types import TracebackType
from typing import Any, Self

from nerv.clock import SystemClock
from nerv.cloudevents import to_headers
from nerv.errors import NervError
from nerv.kafka import CommitFailed, FencedWriter, KafkaSettings, Outgoing, Position, Producer
from nerv.kafka.admin import Admin
from nerv.kafka.settings import ClientConfig
from nerv.service.settings import HttpSettings
from nerv.topics import Topic, of_mesh
from nerv.types import Event, new_event_id, utc_now
from nerv_broker.publishing import PublicationOwner, Receipts
from nerv_broker.publishing.judging import Outcome, Placed, Publication, content_digest, identities
from nerv_broker.publishing.owner import Asked
from nerv_broker.publishing.receipts import Window
from nerv_broker.settings import BrokerSettings, EdgeSettings
from tests.faults.broker.publishing.checker import check
from tests.faults.broker.publishing.load import ended
from tests.faults.broker.publishing.log import final_log
from tests.faults.broker.publishing.operations import Course, End, Forgery, Polled, Seen, Sent

ANSWER_SECONDS, SERVING_SECONDS = 4.0, 30.0
KEY = "k"


class Died(Exception):
    """The end of an owner, as by kill -9: it answers nobody and tries nothing more."""


class DuelWriter(FencedWriter):
    """A writer that may die in its next transaction, events sent and nothing committed, or be told that its reply was lost."""

    dies = lost = False

    async def place(
        self, records: Sequence[Outgoing], receipts: Callable[[Sequence[Position]], Sequence[Outgoing]]
    ) -> list[Position]:
        """Commit, or what the fault says."""

        def die(places: Sequence[Position]) -> Sequence[Outgoing]:
            raise Died

        places = await super().place(records, die if self.dies else receipts)
        if self.lost:
            self.lost = False
            raise CommitFailed("the reply did not come")
        return places


class DuelOwner(PublicationOwner):
    """An owner whose writer can be told what goes wrong next."""

    writer: DuelWriter

    def _writer(self) -> FencedWriter:
        who = self._ownership
        self.writer = DuelWriter(who.kafka, who.topic, self.partition, who.client_id(self.partition))
        return self.writer


class AcknowledgesBeforeCommit(DuelOwner):
    """Answers what a transaction will do, not what it has done."""

    async def _write(self, writer: FencedWriter, taken: list[Asked]) -> list[Any]:
        for item in taken:
            item.resolve([Placed(one.topic, 0, 0) for one in item.publications])
        return await super()._write(writer, taken)


class ForgetsIds(DuelOwner):
    """Remembers nothing of what it or others have published."""

    async def _write(self, writer: FencedWriter, taken: list[Asked]) -> list[Any]:
        self._receipts._windows[self.partition] = Window(10)
        return await super()._write(writer, taken)


class NoTakeOverAfterTimeOut(DuelOwner):
    """Goes on without reading what the transaction of unknown end has written."""

    async def _tick(self, writer: FencedWriter, taken: list[Asked]) -> None:
        try:
            await super()._tick(writer, taken)
        except CommitFailed:
            return  # what was taken is in the queue again, and the next tick takes it


class ReceiptsAfterwards(DuelOwner):
    """Publishes plainly, and commits the receipts when that is done: it may die in between."""

    async def _transaction(self, writer: FencedWriter, publications: Sequence[Publication]) -> list[Outcome]:
        async with Producer(self._ownership.kafka, "plain") as producer:
            found = await producer.publish(
                [Outgoing(o.topic, o.event.data, o.key, to_headers(o.event)) for o in publications]
            )
        places = [place for place in found if isinstance(place, Position)]
        await writer.place([], lambda _: [self._record(publications, places)])
        return [Placed(*place) for place in places]


class LooksAtNoContent(DuelOwner):
    """Takes whatever has a known id for a repeat."""

    async def _write(self, writer: FencedWriter, taken: list[Asked]) -> list[Any]:
        known = self._receipts.window(self.partition).get
        for item in taken:
            item.publications = [
                replace(one, digest=found.digest) if (found := known(one.ids[0])) else one for one in item.publications
            ]
        return await super()._write(writer, taken)


class AnswersWhereItWouldStand(DuelOwner):
    """Tells a repeat a place of its own."""

    async def _write(self, writer: FencedWriter, taken: list[Asked]) -> list[Any]:
        outcomes = await super()._write(writer, taken)
        return [
            [one._replace(offset=one.offset + 1) if isinstance(one, Placed) and one.duplicate else one for one in part]
            for part in outcomes
        ]


class Side:
    """One of the two replicas. Use as `async with`."""

    def __init__(self, name: str, mesh: str, kafka: KafkaSettings, topic: str, seen: Seen) -> None:
        self.settings = BrokerSettings(
            mesh=mesh,
            kafka=kafka,
            instance=name,
            partitions=1,
            http=HttpSettings(advertise=f"http://{name}"),
            broker=EdgeSettings(answer_seconds=ANSWER_SECONDS),
        )
        self.receipts = Receipts(self.settings, Admin(kafka, name))
        self._topic, self._seen = topic, seen
        self._owners: list[DuelOwner] = []

    async def __aenter__(self) -> Self:
        await self.receipts.__aenter__()
        await self.receipts.caught_up()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(owner.leave() for owner in self._owners))
        await self.receipts.__aexit__(kind, error, trace)

    @property
    def owner(self) -> DuelOwner:
        """The last owner made here."""
        return self._owners[-1]

    async def own(self, owner: type[DuelOwner] = DuelOwner) -> None:
        """Take the keys over."""
        made = owner(self.settings.ownership, 0, SystemClock(), lambda error: None, self.receipts)
        self._owners.append(made)
        async with asyncio.timeout(SERVING_SECONDS):
            while not self.owner.serving:  # noqa: ASYNC110 - the owner tells nobody
                await asyncio.sleep(0.005)

    async def publish(self, event: Event[bytes]) -> None:
        """Ask the owner here; written down."""
        ids = identities(self._topic, event, 0, None, "")
        one = Publication(self._topic, KEY.encode(), event, ids, content_digest(event))
        try:
            [outcome] = await self.owner.publish([one])
        except NervError as error:
            outcome = error
        if event.data == b"-1":
            self._seen.forgeries.append(Forgery(event.id, isinstance(outcome, Placed)))
            return
        what = (event.id, KEY, int(event.data))
        if isinstance(outcome, Placed):
            self._seen.note(Sent(*what, End.DONE, (outcome.partition, outcome.offset), outcome.duplicate))
        else:
            [end] = ended(outcome, 1)
            assert isinstance(end, End)
            self._seen.note(Sent(*what, end))


def event(number: int) -> Event[bytes]:
    """One that carries its number."""
    return Event(new_event_id(), "duel", "thing.counted.v1", utc_now(), b"%d" % number, subject=KEY)


Scenario = Callable[[Side, Side, type[DuelOwner]], Awaitable[None]]


async def dies_before_it_commits(old: Side, new: Side, owner: type[DuelOwner]) -> None:
    """The owner dies before the transaction of an event; another takes over, and publishes others."""
    await old.own(owner)
    await old.publish(event(0))
    old.owner.writer.dies = True
    await old.publish(event(1))
    await new.own()
    await new.publish(event(2))


async def dies_before_it_answers(old: Side, new: Side, owner: type[DuelOwner]) -> None:
    """The owner dies with an event in hand; the client sends it to the next owner."""
    await old.own(owner)
    sent = event(0)
    old.owner.writer.dies = True
    await old.publish(sent)
    await new.own()
    await new.publish(sent)


async def reply_is_lost(old: Side, new: Side, owner: type[DuelOwner]) -> None:
    """A transaction is committed, and the owner is told that it timed out."""
    await old.own(owner)
    await old.publish(event(0))
    old.owner.writer.lost = True
    await old.publish(event(1))
    await old.publish(event(2))


async def is_repeated_after_a_take_over(old: Side, new: Side, owner: type[DuelOwner]) -> None:
    """An event is sent to the old owner and to the new one, and again with other content."""
    await old.own()
    sent = event(0)
    await old.publish(sent)
    await new.own(owner)
    await new.publish(sent)
    await new.publish(replace(sent, data=b"-1"))


@dataclass(frozen=True, slots=True)
class Seed:
    """A bug of the owner, or of the reader (`uncommitted`), and the scenario in which it shows."""

    name: str
    scenario: Scenario
    owner: type[DuelOwner] = DuelOwner
    uncommitted: bool = False


SEEDS = (
    Seed("acknowledge-before-commit", dies_before_it_commits, AcknowledgesBeforeCommit),
    Seed("ids-forgotten", is_repeated_after_a_take_over, ForgetsIds),
    Seed("no-take-over-after-a-time-out", reply_is_lost, NoTakeOverAfterTimeOut),
    Seed("receipts-after-the-events", dies_before_it_answers, ReceiptsAfterwards),
    Seed("content-not-looked-at", is_repeated_after_a_take_over, LooksAtNoContent),
    Seed("another-place-for-a-repeat", is_repeated_after_a_take_over, AnswersWhereItWouldStand),
    Seed("uncommitted-reads", dies_before_it_commits, uncommitted=True),
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


class UncommittedReads(KafkaSettings):
    """Readers that see what no transaction has committed."""

    def consumer(self, client_id: str, group: str) -> ClientConfig:
        """As all others, but for that."""
        return super().consumer(client_id, group) | {"isolation.level": "read_uncommitted"}


async def show(seed: Seed, kafka: KafkaSettings) -> Shown:
    """Run a scenario without and with its bug."""
    shown = Shown(seed)
    reader = UncommittedReads(**kafka.model_dump()) if seed.uncommitted else kafka
    good = await _run(seed.scenario, DuelOwner, kafka, kafka)
    bad = await _run(seed.scenario, seed.owner, kafka, reader)
    shown.operations, shown.without, shown.with_bug = good[0] + bad[0], good[1], bad[1]
    return shown


async def _run(
    scenario: Scenario, owner: type[DuelOwner], kafka: KafkaSettings, reader: KafkaSettings
) -> tuple[int, dict[str, list[str]]]:
    mesh, seen = f"d{uuid.uuid4().hex[:8]}", Seen()
    topic = f"{mesh}-events.v1"
    topics = [*of_mesh(mesh, partitions=1), Topic(topic, 1)]
    admin = Admin(kafka, "duel")
    await asyncio.to_thread(admin.create, topics)
    await asyncio.to_thread(admin.wait_for, [one.name for one in topics], 20.0)
    async with AsyncExitStack() as stack:
        old, new = [await stack.enter_async_context(Side(name, mesh, kafka, topic, seen)) for name in ("old", "new")]
        await scenario(old, new, owner)
    polls = [Polled(entry.place, entry.event_id) for entry in await final_log(reader, topic, 1)]
    seen.courses.append(Course("a reader", polls))
    return seen.count, check(seen, await final_log(kafka, topic, 1))
