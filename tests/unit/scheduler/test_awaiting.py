# SPDX-License-Identifier: Apache-2.0
"""Events of a topic for runs that wait for them, on queue and history in memory; records as Kafka would give them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

import nerv
from nerv.clock import SystemClock
from nerv.cloudevents.kafka_binding import to_headers
from nerv.errors import Invalid, Misconfigured
from nerv.kafka import KafkaSettings, Received
from nerv.protocols.queue import RunStatus
from nerv.types import Event
from nerv.workflows import Drawing, Output
from nerv_scheduler.awaiting import Deliverer, Listener
from nerv_scheduler.awaiting.delivering import looked_through_until_ms
from nerv_scheduler.awaiting.matching import Matching
from nerv_scheduler.model import plan
from nerv_scheduler.patience import Patience
from nerv_scheduler.record import Order, OrderKind, RunRecord, Wait
from nerv_scheduler.waiting import awaited_key
from tests.unit.scheduler.scheduler_in_memory import World

TOPIC = "paying.payment.v1"


@dataclass(frozen=True)
class Record:
    """A record of a topic. Implements `nerv.kafka.Received`."""

    at: int
    data: bytes
    kind: str = "payment.made.v1"
    written: datetime | None = None

    def topic(self) -> str:
        """The topic."""
        return TOPIC

    def partition(self) -> int:
        """The only one."""
        return 0

    def offset(self) -> int:
        """Its place."""
        return self.at

    def key(self) -> bytes | None:
        """None."""
        return None

    def value(self) -> bytes | None:
        """The data of the event."""
        return self.data

    def headers(self) -> list[tuple[str, bytes]] | None:
        """The envelope."""
        event = Event(f"e{self.at}", "test", self.kind, datetime(2026, 1, 1, tzinfo=UTC), self.data)
        return [(name, value) for name, value in to_headers(event) if value is not None]

    def timestamp(self) -> tuple[int, int]:
        """When it was written."""
        return 1, round((self.written or datetime.now(UTC)).timestamp() * 1000)


def paid(at: int, order: Any, amount: int = 7, **options: Any) -> Record:
    """A payment."""
    return Record(at, orjson.dumps({"order": order, "amount": amount}), **options)


class Paying:
    """A workflow that waits for the payment of an order, after a task; the topic, and who reads it."""

    def __init__(self, **options: Any) -> None:
        app = nerv.App("paying")

        @app.event("payment.made.v1", topic=TOPIC)
        class PaymentMade(nerv.Event):
            order: str
            amount: int

        app.task(name="begin")(self.begin)
        app.task(name="amount")(self.amount)

        @app.workflow("w", awaits={"payment.made.v1": "order"})
        def workflow(w: Drawing, order: str) -> Output:
            return w.call("amount", w.event("payment.made.v1", w.call("begin", order), **options))

        app.check()
        self.written: list[Record] = []
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()
        self.world = World(app)
        parts = (self.world.queue, self.world.recorder, self.world.recovery, SystemClock(), "t.scheduler", "door")
        self.deliverer, self.matching = Deliverer(*parts), Matching(app)
        self.world.searching = self
        self.listener = Listener(KafkaSettings(), "t", "t", self.matching, self.world.queue, self.deliverer, Patience())

    async def begin(self, order: str) -> str:
        """Takes until the gate is open."""
        self.begun.set()
        await self.gate.wait()
        return order

    def amount(self, payment: dict[str, Any] | None) -> Any:
        """What was paid."""
        return None if payment is None else payment["amount"]

    async def search(self, record: RunRecord, node: str, wait: Wait) -> bool:
        """Look through what was written."""
        since, key = looked_through_until_ms(record, node), awaited_key(wait)
        found = [
            one for one in self.matching.arrived(list(self.written)) if key in one.keys and one.written_ms >= since
        ]
        if found:
            await self.deliverer.record(record, node, found[0])
        return bool(found)

    async def write(self, *records: Record) -> None:
        """Write to the topic, of which the reader hears at once."""
        self.written += records
        batch: Sequence[Received] = records
        async with asyncio.timeout(20):
            await self.listener.hear(batch)

    async def waits(self, run: str) -> None:
        """Return when a run waits for its payment."""
        async with asyncio.timeout(20):
            while await self.world.queue.show(run) is not None or not (await self.world.queue.known([run]))[0]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


def test_what_an_earlier_version_awaits_is_read_on() -> None:
    """Runs stay on their version: a newer one that awaits nothing leaves them their events."""
    paying = Paying()

    @paying.world.app.workflow("w", version=2)
    def workflow(w: Drawing, order: str) -> Output:
        return w.call("begin", order)

    matching = Matching(paying.world.app)
    assert matching.topics == [TOPIC]
    assert len(matching.arrived([paid(0, "o1")])) == 1


async def test_an_event_that_comes_before_its_wait_is_found() -> None:
    """It was written while the task before the wait ran; it is in history before the wait is open."""
    paying = Paying()
    async with paying.world.replica():
        await paying.world.starter.start("w", {"order": "o1"}, "r1")
        await paying.begun.wait()
        await until_intact(paying)
        await paying.write(paid(0, "o2", 1), paid(1, "o1"), paid(2, "o1", 8))
        paying.gate.set()
        assert (await paying.world.ended("r1")).result == b"7"
    types = await paying.world.types("r1")
    assert types[2:5] == ["event.received", "wait.opened", "wait.ended"]


async def test_an_event_wakes_the_run_that_waits_for_it() -> None:
    """The first one with the value; it comes again, and changes nothing. Numbers are found by their text."""
    paying = Paying()
    paying.gate.set()
    async with paying.world.replica():
        await paying.world.starter.start("w", {"order": "17"}, "r1")
        await paying.waits("r1")
        await paying.write(paid(0, "18"), paid(1, 17), paid(2, "17", 8))
        assert (await paying.world.ended("r1")).result == b"7"
        await paying.write(paid(0, "18"), paid(1, 17), paid(2, "17", 8))
    assert (await paying.world.types("r1")).count("event.received") == 1
    assert await paying.world.queue.awaiting(list(key_of(paying, 1))) == {}


async def test_an_event_from_before_the_start_does_not_count() -> None:
    """One that was written a minute before is another run's; what is no event, or has no such field, is nobody's."""
    paying = Paying(within=0.5)
    paying.gate.set()
    before = datetime.now(UTC) - timedelta(minutes=1)
    async with paying.world.replica():
        await paying.world.starter.start("w", {"order": "o1"}, "r1")
        await paying.waits("r1")
        await paying.write(
            paid(0, "o1", written=before), Record(1, b"[1]"), Record(2, b"{"), paid(3, None), paid(4, "o1", kind="x.v1")
        )
        assert (await paying.world.ended("r1")).result == b"null"


async def test_no_event_is_passed_over_while_the_queue_is_put_back() -> None:
    """Redis is wiped and an event comes: it waits until all waits are known again, and is delivered then."""
    paying = Paying()
    paying.gate.set()
    async with paying.world.replica():
        for run in ("r1", "r2"):
            await paying.world.starter.start("w", {"order": run}, run)
            await paying.waits(run)
    paying.world.queue.wipe()
    hearing = asyncio.create_task(paying.write(paid(0, "r1"), paid(1, "r2", 8)))
    await asyncio.sleep(0)
    async with paying.world.replica():
        assert [(await paying.world.ended(run)).result for run in ("r1", "r2")] == [b"7", b"8"]
        await hearing


async def test_an_event_that_comes_while_a_wait_loses_its_queue_is_found() -> None:
    """Redis is wiped between the search and the record of an open wait, and put back by a plan without it: no event is missed."""
    paying = Paying()
    paying.gate.set()
    world, record = paying.world, paying.world.recorder.record

    async def wiped(run: str, event: Event[bytes]) -> bool:
        if event.type != "nerv.wait.opened.v1":
            return await record(run, event)
        world.recorder.record = record  # type: ignore[method-assign]
        before = await world.recorder.read(run)
        world.queue.wipe()
        await world.queue.mark_intact({})
        await paying.write(paid(0, "o1"))
        opened = await record(run, event)
        await world.queue.start(plan(before, datetime.now(UTC)), restore=True)
        return opened

    world.recorder.record = wiped  # type: ignore[method-assign]
    async with world.replica():
        await world.starter.start("w", {"order": "o1"}, "r1")
        assert (await world.ended("r1")).result == b"7"


async def test_a_run_that_is_over_is_found_no_longer() -> None:
    """A run was cancelled while it waited: what comes then is not put into its history."""
    paying = Paying()
    paying.gate.set()
    async with paying.world.replica():
        await paying.world.starter.start("w", {"order": "o1"}, "r1")
        await paying.waits("r1")
        await paying.world.steering.order("r1", Order("c", OrderKind.CANCEL))
        assert (await paying.world.ended("r1")).status is RunStatus.CANCELLED
        await paying.write(paid(0, "o1"))
    assert "event.received" not in await paying.world.types("r1")


async def test_an_event_that_is_too_large_for_history_ends_its_wait_without_its_data() -> None:
    """The run is told of it all the same, and takes it for none."""
    paying = Paying()
    paying.gate.set()
    async with paying.world.replica():
        await paying.world.starter.start("w", {"order": "o1"}, "r1")
        await paying.waits("r1")
        await paying.write(Record(0, orjson.dumps({"order": "o1", "amount": "x" * 262_000})))
        assert (await paying.world.ended("r1")).result == b"null"


def test_what_is_awaited_is_declared() -> None:
    """An event without a topic, a field that it does not have, and one that the workflow does not name, are refused."""
    app = nerv.App("paying")
    app.workflow("w", awaits={"payment.made.v1": "order"})(lambda w: w.event("other.v1", "x"))
    with pytest.raises(Misconfigured, match="declare that event with a topic"):
        app.check()

    @app.event("payment.made.v1", topic=TOPIC)
    class PaymentMade(nerv.Event):
        amount: int

    with pytest.raises(Misconfigured, match="which is not a field of it"):
        app.check()
    with pytest.raises(Invalid, match=r"does not await events of type 'other\.v1'"):
        nerv.workflows.draw(app.workflows["w"], app.tasks, {})


async def until_intact(paying: Paying) -> None:
    """Return when the queue is known to have everything."""
    async with asyncio.timeout(20):
        while await paying.world.queue.awaiting([]) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def key_of(paying: Paying, at: int) -> tuple[str, ...]:
    """The keys of a record that was written."""
    [one] = paying.matching.arrived([paying.written[at]])
    return one.keys
