# SPDX-License-Identifier: Apache-2.0
"""Who hears of an event type: blinker signals, one for each selector, compiled into one route for each type that is sent."""

import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

from blinker import Signal

from nerv.bus.model import Handler, Predicate, Selector, is_pattern, pattern
from nerv.bus.subscription import Subscription
from nerv.errors import Invalid

KNOWN_TYPES = 10_000  # beyond this many different types the compiled routes are dropped and made anew

Refer: TypeAlias = Callable[[], Handler | None]
"""Gives a handler, or None once it is dead."""


class Stop(NamedTuple):
    """One subscriber on the route of a type."""

    refer: Refer
    accepts: Predicate | None
    subscription: Subscription


class Route(NamedTuple):
    """The subscribers of a type, in order of subscription; `guarded` are those whose lanes may refuse an event."""

    stops: tuple[Stop, ...]
    guarded: tuple[Stop, ...]


class Routes:
    """The signals of a bus. blinker keeps the connections, and lets go of a handler when nobody else holds it."""

    def __init__(self) -> None:
        self._signals: dict[Selector, Signal] = {}
        self._members: Counter[Selector] = Counter()
        self._subscriptions: dict[tuple[Selector, Any], Subscription] = {}
        self._compiled: dict[str, Route] = {}

    def __iter__(self) -> Iterator[Subscription]:
        return iter(list(self._subscriptions.values()))

    def find(self, selector: Selector, handler: Handler) -> Subscription | None:
        """The subscription of this handler under this selector, if there is one."""
        return self._subscriptions.get((selector, _identity(handler)))

    def connect(self, handler: Handler, subscription: Subscription, *, weak: bool) -> None:
        """Make the connection. Raises Invalid for a handler that would die at once."""
        selector, identity = subscription.selector, _identity(handler)
        if weak and _momentary(handler):
            raise Invalid(
                f"{handler!r} is made anew each time it is named, so nobody holds it: subscribe with weak=False"
            )
        signal = self._signals.setdefault(selector, Signal())
        signal.connect(handler, weak=weak)
        subscription.refer = signal.receivers[identity] if weak else lambda: handler
        self._subscriptions[selector, identity] = subscription
        self._members[selector] += 1
        subscription.bind(_canceller(self, selector, identity), getattr(handler, "__self__", handler) if weak else None)
        self._compiled.clear()

    def of(self, event_type: str) -> Route:
        """The route of a type. Predicates are on it; whoever delivers asks them."""
        route = self._compiled.get(event_type)
        if route is None:
            if len(self._compiled) >= KNOWN_TYPES:
                self._compiled.clear()
            route = self._compiled[event_type] = self._compile(event_type)
        return route

    def _compile(self, event_type: str) -> Route:
        stops = tuple(
            Stop(found.refer, None if isinstance(found.selector, str) else found.selector, found)
            for found in self
            if _may(found.selector, event_type)
        )
        return Route(
            stops, tuple(s for s in stops if s.subscription.lanes is not None and s.subscription.lanes.lossless)
        )

    def forget(self, selector: Selector, identity: Any) -> None:
        """Leave no trace of a subscription."""
        found = self._subscriptions.pop((selector, identity), None)
        if found is None:
            return
        self._compiled.clear()
        if (handler := found.refer()) is not None:
            self._signals[selector].disconnect(handler)
        self._members[selector] -= 1
        if not self._members[selector]:
            del self._members[selector], self._signals[selector]
        if found.lanes is not None:
            found.lanes.stop()


def _identity(handler: Handler) -> Any:
    # As blinker names a receiver: a bound method by its function and its object, anything else by itself.
    function = getattr(handler, "__func__", None)
    return id(handler) if function is None else (id(function), id(getattr(handler, "__self__", None)))


def _momentary(handler: Handler) -> bool:
    # `found.append` of a list: unlike a bound method of a class, blinker cannot follow the object it belongs to.
    return type(handler).__name__ in ("builtin_function_or_method", "method-wrapper") and not isinstance(
        getattr(handler, "__self__", None), type(weakref)
    )


def _canceller(routes: Routes, selector: Selector, identity: Any) -> Callable[[], None]:
    reference = weakref.ref(routes)

    def cancel() -> None:
        if (found := reference()) is not None:
            found.forget(selector, identity)

    return cancel


def _may(selector: Selector, event_type: str) -> bool:
    if not isinstance(selector, str):
        return True
    return selector == event_type or (is_pattern(selector) and pattern(selector).match(event_type) is not None)
