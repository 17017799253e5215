# SPDX-License-Identifier: Apache-2.0
"""Answers that are kept for a while: one flight for many who ask, a bound in number, and a bound in time."""

import asyncio
import inspect
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from nerv.clock import SystemClock
from nerv.errors import Invalid
from nerv.protocols.clock import Clock


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


def cached(handler: Callable[[Any], Any], cache: Cache) -> Callable[[Any], Awaitable[Any]]:
    """The handler behind a cache. A call goes on while anybody waits for it, and is cancelled with the last of them."""
    if cache.size < 1 or cache.ttl < 0:
        raise Invalid(f"a cache needs a size of at least 1 and a ttl of at least 0 s, not {cache.size} and {cache.ttl}")
    kept: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()
    flights: dict[Hashable, _Flight] = {}

    async def fly(key: Hashable, effect: Any) -> Any:
        try:
            answer = handler(effect)
            if inspect.isawaitable(answer):
                answer = await answer
            kept[key] = (cache.clock.monotonic() + cache.ttl, answer)
            kept.move_to_end(key)
            while len(kept) > cache.size:
                kept.popitem(last=False)
            return answer
        finally:
            flights.pop(key, None)

    async def call(effect: Any) -> Any:
        key = cache.key(effect)
        found = kept.get(key)
        if found is not None and found[0] > cache.clock.monotonic():
            kept.move_to_end(key)
            return found[1]
        flight = flights.get(key)
        if flight is None:
            flight = flights[key] = _Flight(asyncio.create_task(fly(key, effect)))
        return await _wait_for(flight)

    return call


async def _wait_for(flight: _Flight) -> Any:
    flight.waiters += 1
    try:
        return await asyncio.shield(flight.task)
    finally:
        flight.waiters -= 1
        if not flight.waiters and not flight.task.done():
            flight.task.cancel()
