# SPDX-License-Identifier: Apache-2.0
"""Answers that are kept for a while: one flight for many who ask, a bound in number, and a bound in time."""

import asyncio
import inspect
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from nerv.clock import SystemClock
from nerv.errors import Invalid
from nerv.protocols.clock import Clock
from nerv.types import Description


def by_effect(effect: Any) -> Hashable:
    """The effect is its own key. Raises Invalid for one that cannot be hashed."""
    try:
        hash(effect)
    except TypeError:
        raise Invalid(f"{type(effect).__name__} effects cannot be hashed; give Cache a key=") from None
    return effect  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Cache:
    """How answers are kept: under `key`, for `ttl` seconds, the last used `size` of them. Errors are not kept."""

    ttl: float
    size: int = 1024
    key: Callable[[Any], Hashable] = by_effect
    clock: Clock = field(default_factory=SystemClock)


class _Flight:
    """A call that is under way, and how many wait for it."""

    __slots__ = ("task", "waiters")

    def __init__(self, task: "asyncio.Task[Any]") -> None:
        self.task = task
        self.waiters = 0


class Cached:
    """A handler behind a cache. A call goes on while anybody waits for it, and is cancelled with the last of them."""

    def __init__(self, handler: Callable[[Any], Any], cache: Cache) -> None:
        """Raises Invalid for a cache that could keep nothing."""
        if cache.size < 1 or cache.ttl < 0:
            raise Invalid(
                f"a cache needs a size of at least 1 and a ttl of at least 0 s, not {cache.size} and {cache.ttl}"
            )
        self._handler, self._cache = handler, cache
        self._kept: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()
        self._flights: dict[Hashable, _Flight] = {}
        self._hits = self._joined = self._misses = 0

    async def __call__(self, effect: Any) -> Any:
        """The answer that is kept, that is under way, or a new one."""
        key = self._cache.key(effect)
        found = self._kept.get(key)
        if found is not None and found[0] > self._cache.clock.monotonic():
            self._hits += 1
            self._kept.move_to_end(key)
            return found[1]
        flight = self._flights.get(key)
        if flight is None:
            self._misses += 1
            flight = self._flights[key] = _Flight(asyncio.create_task(self._fly(key, effect)))
        else:
            self._joined += 1
        return await _wait_for(flight)

    def describe(self) -> Description:
        """The cache as data: answers kept, found, waited for with others, and asked for anew."""
        name = str(getattr(self._handler, "__qualname__", type(self._handler).__qualname__))
        counters = {"held": len(self._kept), "hits": self._hits, "joined": self._joined, "misses": self._misses}
        return Description("Cached", name, counters=counters)

    async def _fly(self, key: Hashable, effect: Any) -> Any:
        try:
            answer = self._handler(effect)
            if inspect.isawaitable(answer):
                answer = await answer
            self._kept[key] = (self._cache.clock.monotonic() + self._cache.ttl, answer)
            self._kept.move_to_end(key)
            while len(self._kept) > self._cache.size:
                self._kept.popitem(last=False)
            return answer
        finally:
            self._flights.pop(key, None)


async def _wait_for(flight: _Flight) -> Any:
    flight.waiters += 1
    try:
        return await asyncio.shield(flight.task)
    finally:
        flight.waiters -= 1
        if not flight.waiters and not flight.task.done():
            flight.task.cancel()
