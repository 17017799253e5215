# SPDX-License-Identifier: Apache-2.0
"""The bus: who hears what, in which order, and what becomes of failures."""

import asyncio
import gc
import weakref
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from nerv.bus import Delay, EventBus, Lanes, Overflow, SubscriberFailed
from nerv.errors import Invalid, Overloaded, Unavailable
from nerv.types import Event, Health, utc_now

NOW = utc_now()


def event(number: int, kind: str = "flight.departed.v1", key: str | None = None) -> Event[int]:
    """An event that can be told apart."""
    return Event(str(number), "test", kind, NOW + timedelta(seconds=number), number, partition_key=key)


class Ear:
    """Somebody who listens."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def hear(self, heard: Event[Any]) -> None:
        self.heard.append(heard.data)


def test_a_type_a_pattern_and_a_predicate_each_select() -> None:
    """Each subscriber hears what its selector means, and nothing else."""
    bus, exact, glob, odd = EventBus(), Ear(), Ear(), Ear()

    def is_odd(asked: Event[Any]) -> bool:
        return bool(asked.data % 2)

    bus.subscribe("flight.departed.v1", exact.hear)
    bus.subscribe("flight.*", glob.hear)
    bus.subscribe(is_odd, odd.hear)
    for made in (event(1), event(2, "flight.arrived.v1"), event(3, "plane.sold.v1")):
        bus.send(made)
    assert (exact.heard, glob.heard, odd.heard) == ([1], [1, 2], [1, 3])


def test_subscribers_are_called_in_the_order_in_which_they_came() -> None:
    """Whatever kind of selector they used."""
    bus, calls = EventBus(), list[str]()
    first, second, third = (lambda e, n=n: calls.append(n) for n in "abc")
    bus.subscribe("flight.*", first)
    bus.subscribe("flight.departed.v1", second)
    bus.subscribe(lambda e: True, third, weak=False)
    bus.send(event(1))
    assert calls == ["a", "b", "c"]


def test_a_dead_subscriber_leaves_no_trace() -> None:
    """When nobody else holds the object, the bus has forgotten its method, its selector and its name."""
    bus = EventBus()
    ear = Ear()
    gone = weakref.ref(ear)
    bus.subscribe("flight.*", ear.hear)
    bus.send(event(1))
    del ear
    gc.collect()
    assert gone() is None
    assert bus.subscriptions == []
    assert bus.describe().outputs == ()
    assert not any(isinstance(found, Ear) for found in gc.get_objects())
    bus.send(event(2))


def test_a_subscriber_that_failed_can_die_too() -> None:
    """The event of its failure does not keep it alive."""

    class Broken:
        def hear(self, e: Event[Any]) -> None:
            raise ValueError("no")

    bus, broken = EventBus(), Broken()
    gone = weakref.ref(broken)
    bus.subscribe("flight.*", broken.hear)
    bus.send(event(1))
    del broken
    assert gone() is None
    assert bus.subscriptions == []
    assert len(bus.history("nerv.*")) == 1


def test_a_function_dies_with_its_scope_unless_the_bus_holds_it() -> None:
    """weak=False keeps a local function; the default lets it go."""
    bus, heard = EventBus(), list[int]()

    def scope(weak: bool) -> None:
        def local(e: Event[int]) -> None:
            heard.append(e.data)

        bus.subscribe("flight.*", local, weak=weak)

    scope(weak=True)
    bus.send(event(1))
    scope(weak=False)
    bus.send(event(2))
    assert heard == [2]


def test_a_handler_that_nobody_could_hold_is_refused() -> None:
    """`list.append` of an object is made anew at each mention."""
    with pytest.raises(Invalid, match="weak=False"):
        EventBus().subscribe("flight.*", [].append)


@pytest.mark.parametrize(("selector", "handler"), [("", print), (3, print), ("a", 3)])
def test_what_cannot_be_subscribed_is_refused(selector: Any, handler: Any) -> None:
    """With a text that says what can."""
    with pytest.raises(Invalid):
        EventBus().subscribe(selector, handler)


def test_the_same_pair_is_one_subscription_and_cancelling_ends_it() -> None:
    """Subscribing twice does not deliver twice; after cancel, or its block, nothing comes."""
    bus, ear = EventBus(), Ear()
    first = bus.subscribe("flight.*", ear.hear)
    assert bus.subscribe("flight.*", ear.hear) is first
    bus.send(event(1))
    first.cancel()
    first.cancel()
    bus.send(event(2))
    with bus.subscribe("flight.*", ear.hear):
        bus.send(event(3))
    bus.send(event(4))
    assert ear.heard == [1, 3]


def test_middleware_transforms_and_drops_in_its_order() -> None:
    """Each sees what the one before it gave; a dropped event reaches neither subscribers nor history."""
    seen: list[int] = []

    def double(e: Event[int]) -> Event[int]:
        return Event(e.id, e.source, e.type, e.time, e.data * 2)

    def drop_four(e: Event[int]) -> Event[int] | None:
        seen.append(e.data)
        return None if e.data == 4 else e

    bus, ear = EventBus(middleware=[double, drop_four]), Ear()
    bus.subscribe("flight.*", ear.hear)
    for number in (1, 2, 3):
        bus.send(event(number))
    assert seen == [2, 4, 6]
    assert ear.heard == [2, 6] == [e.data for e in bus.history()]
    assert bus.describe().counters["dropped"] == 1


async def test_a_delayed_event_goes_on_with_the_rest_of_the_chain() -> None:
    """It is not in the history before its time, the middleware after it sees it later, the one before it not again."""
    calls: list[str] = []

    def before(e: Event[int]) -> Event[int]:
        calls.append("before")
        return e

    def delay(e: Event[int]) -> Delay:
        return Delay(e, 0.01)

    def after(e: Event[int]) -> Event[int]:
        calls.append("after")
        return e

    came = asyncio.Event()
    bus = EventBus(middleware=[before, delay, after])
    bus.subscribe("flight.*", lambda e: came.set(), weak=False)
    bus.send(event(1))
    assert (calls, bus.history()) == (["before"], [])
    await asyncio.wait_for(came.wait(), 5)
    assert calls == ["before", "after"]


async def test_a_bus_that_closes_sends_what_is_delayed_at_once_and_then_refuses() -> None:
    """An hour's delay does not keep it open, and nothing delayed is lost."""
    ear = Ear()
    async with EventBus(middleware=[lambda e: Delay(e, 3600.0)]) as bus:
        bus.subscribe("flight.*", ear.hear)
        bus.send(event(1))
    assert ear.heard == [1]
    with pytest.raises(Unavailable):
        bus.send(event(2))
    assert bus.describe().health is Health.DOWN


async def test_more_delayed_events_than_the_bound_are_refused() -> None:
    """Time is a queue too, and bounded."""
    bus = EventBus(middleware=[lambda e: Delay(e, 3600.0)], pending=2)
    bus.send(event(1))
    bus.send(event(2))
    with pytest.raises(Overloaded):
        bus.send(event(3))
    await bus.aclose()


def test_history_is_bounded_and_can_be_asked() -> None:
    """By selector, by instant, and by number."""
    bus = EventBus(history=3)
    for number in range(5):
        bus.send(event(number, "a.b" if number % 2 else "a.c"))
    assert [e.data for e in bus.history()] == [2, 3, 4]
    assert [e.data for e in bus.history("a.c")] == [2, 4]
    assert [e.data for e in bus.history("a.*", limit=1)] == [4]
    assert [e.data for e in bus.history(since=NOW + timedelta(seconds=3))] == [3, 4]
    assert bus.history(limit=0) == []


def test_a_late_subscriber_hears_the_history_before_what_is_sent_then() -> None:
    """All of it, or the last so many, in order; and only what it selects."""
    bus, everything, last = EventBus(), Ear(), Ear()
    for number in range(4):
        bus.send(event(number))
    bus.send(event(9, "plane.sold.v1"))
    bus.subscribe("flight.*", everything.hear, replay=True)
    bus.subscribe("flight.*", last.hear, replay=2)
    bus.send(event(4))
    assert (everything.heard, last.heard) == ([0, 1, 2, 3, 4], [2, 3, 4])


def test_one_failing_subscriber_harms_no_other_and_its_error_is_an_event() -> None:
    """The event names the subscriber, the event and the error, and its cause."""
    bus, ear, failures = EventBus(), Ear(), list[Event[SubscriberFailed]]()

    def broken(e: Event[Any]) -> None:
        raise ValueError(f"no {e.data}")

    bus.subscribe("flight.*", broken)
    bus.subscribe("flight.*", ear.hear)
    bus.subscribe("nerv.bus.subscriber-failed.v1", failures.append, weak=False)
    bus.send(event(1))
    assert ear.heard == [1]
    [failure] = failures
    assert failure.data.subscriber.endswith("broken")
    assert failure.data.error == "ValueError: no 1"
    assert "broken" in failure.data.traceback
    assert failure.causation_id == "1"
    assert bus.describe().health is Health.DEGRADED


def test_who_fails_on_failures_does_not_fail_for_ever() -> None:
    """A failure while a failure is handled is logged, not sent."""

    def broken(e: Event[Any]) -> None:
        raise ValueError

    bus = EventBus()
    bus.subscribe("*", broken)
    bus.send(event(1))
    assert bus.describe().counters["failures"] == 2
    assert bus.describe().counters["sent"] == 2


def test_a_predicate_that_raises_fails_its_subscriber_only() -> None:
    """As a handler that raises does."""
    bus, ear = EventBus(), Ear()
    bus.subscribe(lambda e: e.type == "flight.departed.v1" and bool(1 / 0), print, weak=False)
    bus.subscribe("flight.*", ear.hear)
    bus.send(event(1))
    assert ear.heard == [1]
    assert bus.describe().counters["failures"] == 1


def test_what_a_handler_sends_comes_after_the_event_at_hand() -> None:
    """All subscribers see events in the same order, and a long chain of events needs no deep stack."""
    bus, ear = EventBus(), Ear()

    def again(e: Event[int]) -> None:
        if e.data < 5000:
            bus.send(event(e.data + 1))

    bus.subscribe("flight.*", again)
    bus.subscribe("flight.*", ear.hear)
    bus.send(event(0))
    assert ear.heard == list(range(5001))


async def test_async_subscribers_hear_in_order_and_drain_waits_for_them() -> None:
    """After drain everything sent has been handled."""
    heard: list[int] = []

    async def hear(e: Event[int]) -> None:
        await asyncio.sleep(0)
        heard.append(e.data)

    async with EventBus() as bus:
        bus.subscribe("flight.*", hear)
        for number in range(20):
            bus.send(event(number))
        await bus.drain()
        assert heard == list(range(20))


async def test_keys_keep_their_order_and_do_not_wait_for_each_other() -> None:
    """A key that hangs holds up its own lane only."""
    gate, heard = asyncio.Event(), list[tuple[str, int]]()

    async def hear(e: Event[int]) -> None:
        if e.partition_key == "slow":
            await gate.wait()
        heard.append((e.partition_key or "", e.data))

    bus = EventBus()
    lanes = Lanes(count=2, key=lambda e: e.partition_key or "")
    subscription = bus.subscribe("flight.*", hear, lanes=lanes)
    assert subscription.lanes is not None
    other = next(k for k in map(str, range(99)) if not _together(subscription.lanes.lane, "slow", k))
    for number in range(3):
        bus.send(event(number, key="slow"))
        bus.send(event(number, key=other))
    await _until(lambda: len(heard) == 3)
    assert heard == [(other, 0), (other, 1), (other, 2)]
    gate.set()
    await bus.drain()
    assert heard[3:] == [("slow", 0), ("slow", 1), ("slow", 2)]
    await bus.aclose()


def _together(lane: Callable[[Event[Any]], object], one: str, other: str) -> bool:
    return lane(event(0, key=one)) is lane(event(0, key=other))


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - the condition is not ours to signal
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("policy", "left", "dropped"),
    [(Overflow.DROP_NEWEST, [0, 1, 2], 2), (Overflow.DROP_OLDEST, [0, 3, 4], 2)],
)
async def test_a_full_lane_drops_as_its_policy_says(policy: Overflow, left: list[int], dropped: int) -> None:
    """What is dropped is counted."""
    gate, heard = asyncio.Event(), list[int]()

    async def hear(e: Event[int]) -> None:
        heard.append(e.data)
        await gate.wait()

    bus = EventBus()
    subscription = bus.subscribe("flight.*", hear, lanes=Lanes(capacity=2, overflow=policy))
    bus.send(event(0))
    await _until(lambda: heard == [0])
    for number in range(1, 5):
        bus.send(event(number))
    gate.set()
    await bus.drain()
    assert (heard, subscription.describe().counters["dropped"]) == (left, dropped)
    await bus.aclose()


async def test_a_full_lane_that_drops_nothing_refuses_before_anybody_got_the_event() -> None:
    """The sender learns it, and nothing is half-done: neither history nor the other subscriber has the event."""
    gate, ear = asyncio.Event(), Ear()

    async def hang(e: Event[int]) -> None:
        await gate.wait()

    bus = EventBus()
    bus.subscribe("flight.*", ear.hear)
    bus.subscribe("flight.*", hang, lanes=Lanes(capacity=1, overflow=Overflow.REFUSE))
    bus.send(event(0))
    await _until(lambda: bus.describe().parts[1].counters["queued"] == 0)
    bus.send(event(1))
    with pytest.raises(Overloaded):
        bus.send(event(2))
    with pytest.raises(Overloaded):
        await bus.publish(event(3))
    assert ear.heard == [0, 1] == [e.data for e in bus.history()]
    gate.set()
    await bus.aclose()


async def test_publish_waits_for_room() -> None:
    """Back-pressure reaches whoever publishes, and nothing is lost."""
    heard: list[int] = []

    async def hear(e: Event[int]) -> None:
        await asyncio.sleep(0)
        heard.append(e.data)

    async with EventBus() as bus:
        subscription = bus.subscribe("flight.*", hear, lanes=Lanes(capacity=2))
        for number in range(50):
            await bus.publish(event(number))
            assert subscription.lanes is not None
            assert subscription.lanes.queued <= 2
    assert heard == list(range(50))


async def test_a_batch_handler_gets_lists() -> None:
    """Up to `batch` events at a time, in order."""
    calls: list[list[int]] = []

    def take(events: list[Event[int]]) -> None:
        calls.append([e.data for e in events])

    async with EventBus() as bus:
        bus.subscribe("flight.*", take, lanes=Lanes(batch=4))
        for number in range(10):
            bus.send(event(number))
    assert calls == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


async def test_a_lane_survives_a_handler_that_fails_or_cancels_itself() -> None:
    """The next event is handled; both failures are events."""
    heard: list[int] = []

    async def moody(e: Event[int]) -> None:
        if e.data == 0:
            raise ValueError
        if e.data == 1:
            raise asyncio.CancelledError
        heard.append(e.data)

    async with EventBus() as bus:
        bus.subscribe("flight.*", moody)
        for number in range(3):
            bus.send(event(number))
    assert heard == [2]
    assert bus.describe().counters["failures"] == 2


async def test_a_subscription_can_end_within_its_handler() -> None:
    """The handler finishes what it does; what was queued for it is dropped."""
    done: list[int] = []

    async def once(e: Event[int]) -> None:
        subscription.cancel()
        await asyncio.sleep(0)
        done.append(e.data)

    async with EventBus() as bus:
        subscription = bus.subscribe("flight.*", once)
        bus.send(event(1))
        bus.send(event(2))
        await _until(lambda: done == [1])
        assert bus.subscriptions == []
    assert done == [1]


async def test_no_task_outlives_the_bus() -> None:
    """The workers of its lanes end with it."""
    before = asyncio.all_tasks()

    async def hear(e: Event[int]) -> None:
        return

    async with EventBus() as bus:
        bus.subscribe("flight.*", hear, lanes=Lanes(count=4))
        for number in range(20):
            bus.send(event(number))
    assert asyncio.all_tasks() == before
