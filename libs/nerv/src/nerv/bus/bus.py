# SPDX-License-Identifier: Apache-2.0
"""The event bus of one process: who subscribes hears what is sent, in the order in which it was sent."""

import asyncio
import inspect
import traceback
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog

from nerv.bus.chain import named
from nerv.bus.lanes import Deliver, Lane, LaneSet
from nerv.bus.model import (
    Delay,
    Handler,
    Lanes,
    Middleware,
    Overflow,
    Predicate,
    Routed,
    Selector,
    SubscriberFailed,
    selects,
)
from nerv.bus.routes import Route, Routes
from nerv.bus.subscription import Subscription
from nerv.errors import Invalid, Overloaded, Unavailable
from nerv.types import Description, Event, EventType, Health, new_event_id, utc_now

log = structlog.get_logger(__name__)

HISTORY = 1024  # events that a late subscriber can have replayed
PENDING = 10_000  # events that may wait: for their time, or for the one that is being delivered
DRAIN_SECONDS = 8.0  # a service has 10 s to end (rule 16)

F = TypeVar("F", bound=Callable[..., Any])


class EventBus:
    """Named signals on blinker, with middleware, a bounded history and partitioned delivery. It belongs to one thread.

    A plain handler runs within `send`, in order of subscription; what a handler sends is delivered after the event at
    hand. A coroutine function, or any handler with `lanes`, is fed through bounded queues; such a bus is used as
    `async with`, which drains them at its end. A handler that raises harms no other: its error becomes an event of type
    `nerv.bus.subscriber-failed.v1` (`SubscriberFailed`). Delivery is at most once; what must not be lost is appended to
    history or published to a topic.
    """

    def __init__(
        self,
        name: str = "bus",
        *,
        middleware: Iterable[Middleware] = (),
        history: int = HISTORY,
        pending: int = PENDING,
    ) -> None:
        """`middleware` (a `Chain`, or functions) is asked in this order for every event.

        `history` and `pending` bound what is kept (events).
        """
        self.name = name
        self.middleware = tuple(middleware)
        self._history: deque[Event[Any]] = deque(maxlen=history)
        self._routes = Routes()
        self._limit = pending
        self._pending: deque[tuple[Route, Event[Any]]] = deque()
        self._delayed: dict[int, tuple[Event[Any], int, asyncio.TimerHandle]] = {}
        self._delays = 0
        self._going: set[asyncio.Task[None]] = set()
        self._workers: set[asyncio.Task[None]] = set()
        self._delivering = False
        self._closed = False
        self._dropped = 0
        self._failures = 0
        self._sent = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # --- subscribing ---------------------------------------------------------------------------------------------------

    def subscribe(
        self,
        selector: Selector,
        handler: Handler,
        *,
        name: str | None = None,
        weak: bool = True,
        lanes: Lanes | None = None,
        replay: int | bool = False,
    ) -> Subscription:
        """Call `handler(event)` for every event that `selector` selects. The same pair again is the same subscription.

        With `weak` the bus does not keep the handler alive: a lambda or a local function is gone with its last other
        reference. `replay` first gives it what the history holds: all of it, or the last so many. Raises Invalid for what
        cannot be called, and for a handler that nobody could hold.
        """
        _check(selector, handler, lanes)
        if (known := self._routes.find(selector, handler)) is not None:
            return known
        label = name or str(getattr(handler, "__qualname__", type(handler).__qualname__))
        subscription = Subscription(label, selector)
        if lanes is not None or _is_async(handler):
            options = lanes or Lanes()
            subscription.lanes = LaneSet(options, self._deliverer(subscription, options), self._spawn)
        self._routes.connect(handler, subscription, weak=weak)
        if replay:
            self._replay(subscription, handler, None if replay is True else replay)
        return subscription

    def on(self, selector: Selector, *, lanes: Lanes | None = None, replay: int | bool = False) -> Callable[[F], F]:
        """`subscribe` as a decorator. The bus then holds the function: it was written to stay."""

        def register(handler: F) -> F:
            self.subscribe(selector, handler, weak=False, lanes=lanes, replay=replay)
            return handler

        return register

    @property
    def subscriptions(self) -> list[Subscription]:
        """Who hears of this bus now, in order of subscription."""
        return list(self._routes)

    # --- sending -------------------------------------------------------------------------------------------------------

    def send(self, event: Event[Any]) -> None:
        """Deliver an event: to plain handlers now, to the others by their lanes.

        Raises Overloaded when a lane that drops nothing is full, and Unavailable when the bus is closed; then nobody got
        it. What a middleware raises comes out here, and nobody got it either.
        """
        if self._closed:
            raise Unavailable(f"bus {self.name} is closed")
        if self.middleware:
            passed = self._through(event, 0)
            if passed is None:
                return
            event = passed
        self._accept(event)

    async def publish(self, event: Event[Any]) -> None:
        """As `send`, but waits for room where a lane's policy is to wait."""
        if self._closed:
            raise Unavailable(f"bus {self.name} is closed")
        passed = self._through(event, 0)
        if passed is not None:
            await self._accept_when_room(passed)

    async def publish_many(self, events: Iterable[Event[Any]]) -> None:
        """`publish` one after the other."""
        for event in events:
            await self.publish(event)

    async def drain(self) -> None:
        """Until every event sent so far has been handled by everybody who has lanes."""
        for subscription in self._routes:
            if subscription.lanes is not None:
                await subscription.lanes.drain()

    async def aclose(self) -> None:
        """Send what was delayed at once, take no more, drain for at most 8 s, and end the workers."""
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                for number in list(self._delayed):
                    self._due(number)
                while self._going:
                    await asyncio.wait(self._going)
                self._closed = True
                await self.drain()
        except TimeoutError:
            left = sum(s.lanes.queued for s in self._routes if s.lanes is not None) + len(self._delayed)
            log.warning("bus.drain", bus=self.name, dropped=left)
        finally:
            self._closed = True
            for _, _, timer in self._delayed.values():
                timer.cancel()
            self._delayed.clear()
            for subscription in self._routes:
                if subscription.lanes is not None:
                    subscription.lanes.stop()
            # Also of subscriptions that have just been cancelled; a handler that closes the bus does not wait for itself.
            ending = (self._going | self._workers) - {asyncio.current_task()}
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)

    # --- looking back --------------------------------------------------------------------------------------------------

    def history(
        self, selector: Selector | None = None, *, since: datetime | None = None, limit: int | None = None
    ) -> list[Event[Any]]:
        """What was sent, oldest first: what `selector` selects, with `time` from `since` on; of these the last `limit`."""
        found = [e for e in self._history if selects(selector, e) and (since is None or e.time >= since)]
        return found if limit is None else found[max(0, len(found) - limit) :]

    def describe(self) -> Description:
        """The bus as data; its parts are its subscribers."""
        parts = tuple(subscription.describe() for subscription in self._routes)
        health = Health.DEGRADED if self._failures else Health.OK
        return Description(
            "EventBus",
            self.name,
            inputs=tuple(named(step).name for step in self.middleware),
            outputs=tuple(sorted({part.inputs[0] for part in parts})),
            counters={
                "sent": self._sent,
                "dropped": self._dropped,
                "failures": self._failures,
                "delayed": len(self._delayed),
                "history": len(self._history),
            },
            health=Health.DOWN if self._closed else health,
            parts=parts,
        )

    # --- inside --------------------------------------------------------------------------------------------------------

    def _through(self, event: Event[Any], index: int) -> Event[Any] | None:
        for step in self.middleware[index:] if index else self.middleware:
            index += 1
            answer = step(event)
            if answer is event:
                continue
            if answer is None:
                self._dropped += 1
                return None
            if isinstance(answer, Delay):
                self._put_off(answer, index)
                return None
            event = answer.event if isinstance(answer, Routed) else answer
        return event

    def _put_off(self, delay: Delay, index: int) -> None:
        if len(self._delayed) >= self._limit:
            raise Overloaded(f"{self._limit} events of bus {self.name} wait for their time already", retry_after=1.0)
        self._delays += 1
        timer = asyncio.get_running_loop().call_later(delay.seconds, self._due, self._delays)
        self._delayed[self._delays] = (delay.event, index, timer)

    def _due(self, number: int) -> None:
        event, index, timer = self._delayed.pop(number)
        timer.cancel()
        task = asyncio.get_running_loop().create_task(self._go_on(event, index))
        self._going.add(task)
        task.add_done_callback(self._going.discard)

    async def _go_on(self, event: Event[Any], index: int) -> None:
        # Nobody waits for a delayed event, so that what a middleware raises now has only the log to go to.
        try:
            if (passed := self._through(event, index)) is not None:
                await self._accept_when_room(passed)
        except Exception as error:
            self._dropped += 1
            log.warning("bus.delayed", bus=self.name, event_id=event.id, error=repr(error))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._workers.add(task)
        task.add_done_callback(self._workers.discard)
        return task

    def _accept(self, event: Event[Any]) -> None:
        route = self._routes.of(event.type)
        if route.guarded and _full(route, event) is not None:
            raise Overloaded(f"a lane of bus {self.name} is full, so nobody got {event.id}", retry_after=0.1)
        if self._delivering and len(self._pending) >= self._limit:
            raise Overloaded(
                f"{self._limit} events wait for the one that bus {self.name} is delivering", retry_after=0.1
            )
        self._sent += 1
        self._history.append(event)
        if self._delivering or self._pending:
            self._pending.append((route, event))
            if self._delivering:
                return
            route, event = self._pending.popleft()
        self._delivering = True
        try:
            self._deliver(route, event)
            while self._pending:
                self._deliver(*self._pending.popleft())
        finally:
            self._delivering = False

    async def _accept_when_room(self, event: Event[Any]) -> None:
        while True:
            route = self._routes.of(event.type)
            lane = _full(route, event)
            if lane is None or lane.options.overflow is not Overflow.WAIT:
                self._accept(event)
                return
            await lane.room.wait()

    def _deliver(self, route: Route, event: Event[Any]) -> None:
        for refer, accepts, subscription in route.stops:
            handler = refer()
            if handler is None:
                continue
            try:
                if accepts is not None and not accepts(event):
                    continue
                if subscription.lanes is None:
                    handler(event)
                    subscription.handled += 1
                else:
                    subscription.lanes.lane(event).put(event)
            except Exception as error:
                self._failed(subscription, [event], error)

    def _deliverer(self, subscription: Subscription, options: Lanes) -> Deliver:
        async def deliver(events: list[Event[Any]]) -> None:
            handler = subscription.refer()
            if handler is None:
                return
            try:
                waiting = handler(events if options.batch else events[0])
                if inspect.isawaitable(waiting):
                    await waiting
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # The handler's own doing; it must not end the worker.
                self._failed(subscription, events, RuntimeError(f"cancelled itself: {error!r}"))
            except Exception as error:
                self._failed(subscription, events, error)
            else:
                subscription.handled += len(events)

        return deliver

    def _failed(self, subscription: Subscription, events: Sequence[Event[Any]], error: Exception) -> None:
        subscription.failed += len(events)
        self._failures += 1
        first = events[0]
        if first.type == EventType.SUBSCRIBER_FAILED:  # whoever fails on failures would fail for ever
            log.error("bus.failed", bus=self.name, subscriber=subscription.name, error=repr(error))
            return
        failure = Event(
            new_event_id(),
            self.name,
            EventType.SUBSCRIBER_FAILED.value,
            utc_now(),
            SubscriberFailed(
                subscription.name,
                tuple(events),
                f"{type(error).__name__}: {error}",
                "".join(traceback.format_exception(error)),
            ),
            correlation_id=first.correlation_id,
            causation_id=first.id,
        )
        try:
            self._accept(failure)
        except Overloaded:
            self._dropped += 1
            log.error("bus.failed", bus=self.name, subscriber=subscription.name, error=repr(error))

    def _replay(self, subscription: Subscription, handler: Handler, last: int | None) -> None:
        for event in self.history(subscription.selector, limit=last):
            if subscription.lanes is not None:
                subscription.lanes.lane(event).append(event)
                continue
            try:
                handler(event)
                subscription.handled += 1
            except Exception as error:
                self._failed(subscription, [event], error)


def _full(route: Route, event: Event[Any]) -> Lane | None:
    for _, accepts, subscription in route.guarded:
        if (
            subscription.lanes is not None
            and (lane := subscription.lanes.lane(event)).full
            and _accepts(accepts, event)
        ):
            return lane
    return None


def _accepts(accepts: Predicate | None, event: Event[Any]) -> bool:
    try:
        return accepts is None or accepts(event)
    except Exception:
        return False  # delivering asks again, and tells of the error


def _is_async(handler: Handler) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004


def _check(selector: Selector, handler: Handler, lanes: Lanes | None) -> None:
    if not callable(handler):
        raise Invalid(f"{handler!r} cannot be called; subscribe a function that takes an event")
    if not (callable(selector) or (isinstance(selector, str) and selector)):
        raise Invalid(f"a selector is an event type, a pattern such as 'flight.*', or a function, not {selector!r}")
    if lanes is not None and (lanes.count < 1 or lanes.capacity < 1 or (lanes.batch is not None and lanes.batch < 1)):
        raise Invalid(f"count, capacity and batch of {lanes} must be at least 1")
