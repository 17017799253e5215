# SPDX-License-Identifier: Apache-2.0
"""Suite *core*: a bus whose subscribers come, go, die and fail, against a model of who must have heard what."""

import asyncio
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from nerv.bus import EventBus, Lanes, Overflow, Subscription
from nerv.errors import Overloaded
from nerv.types import Event, utc_now
from tests.faults.core.machines import Count, examine
from tests.faults.verdict import Invariant

count = Count()
SECONDS = 10.0
HISTORY = 10_000  # more than one life sends; that it is bounded is a unit test's affair
CAPACITY = 3
TYPES = ("a.one", "a.two", "b.one")
SELECTORS = {"a.one": {"a.one"}, "a.*": {"a.one", "a.two"}, "*.one": {"a.one", "b.one"}, "*": set(TYPES)}
NOW = utc_now()


class Ear:
    """A subscriber, what it heard, and what the model says it must hear. It fails on numbers that `fails` divides."""

    def __init__(self, selector: str, fails: int) -> None:
        self.selector, self.fails = selector, fails
        self.heard: list[int] = []
        self.expected: list[int] = []

    def hear(self, event: Event[Any]) -> None:
        """Directly."""
        if event.type not in TYPES:
            return  # a failure of another, which "*" hears too
        self.heard.append(event.data)
        if self.fails and event.data % self.fails == 0:
            count.faults += 1
            raise ValueError(event.data)

    async def wait_and_hear(self, event: Event[Any]) -> None:
        """By a lane."""
        await asyncio.sleep(0)
        self.hear(event)


class BusMachine(RuleBasedStateMachine):
    """A bus over a life of subscriptions."""

    bus_type: ClassVar[type[EventBus]] = EventBus

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.bus = self.bus_type("faults", history=HISTORY)
        self.ears: list[tuple[Ear, Subscription]] = []
        self.history: list[tuple[str, int]] = []
        self.number = 0

    def teardown(self) -> None:
        """All that was sent arrives, and no worker is left."""
        try:
            self.runner.run(self._close())
        finally:
            self.runner.close()

    @rule(
        selector=st.sampled_from(sorted(SELECTORS)), fails=st.integers(0, 3), lanes=st.booleans(), replay=st.booleans()
    )
    def subscribe(self, selector: str, fails: int, *, lanes: bool, replay: bool) -> None:
        """Somebody comes, who may want to hear what was."""
        count.operations += 1
        self.runner.run(self._subscribe(Ear(selector, fails), lanes=lanes, replay=replay))

    @rule(kind=st.sampled_from(TYPES), times=st.integers(1, 5), wait=st.booleans())
    def send(self, kind: str, times: int, *, wait: bool) -> None:
        """Some events; one that is refused reached nobody."""
        self.runner.run(self._send(kind, times, wait=wait))

    @rule(data=st.data(), how=st.sampled_from(["cancel", "die"]))
    def leave(self, data: st.DataObject, how: str) -> None:
        """Somebody goes, after having heard all, or is no more."""
        if not self.ears:
            return
        count.operations += 1
        self.runner.run(self._drained())
        ear, subscription = self.ears.pop(data.draw(st.integers(0, len(self.ears) - 1)))
        assert ear.heard == ear.expected
        if how == "cancel":
            subscription.cancel()
        else:
            count.faults += 1
            del ear, subscription
        assert len(self.bus.subscriptions) == len(self.ears)

    @rule()
    def drain(self) -> None:
        """After it everybody has heard all there was, in order."""
        count.operations += 1
        self.runner.run(self._drained())
        for ear, _ in self.ears:
            assert ear.heard == ear.expected
        assert [(e.type, e.data) for e in self.bus.history("[ab].*")] == self.history

    async def _subscribe(self, ear: Ear, *, lanes: bool, replay: bool) -> None:
        if replay:
            ear.expected += [number for kind, number in self.history if kind in SELECTORS[ear.selector]]
        handler: Any = ear.wait_and_hear if lanes else ear.hear
        options = Lanes(capacity=CAPACITY, overflow=Overflow.WAIT) if lanes else None
        self.ears.append((ear, self.bus.subscribe(ear.selector, handler, lanes=options, replay=replay)))

    async def _send(self, kind: str, times: int, *, wait: bool) -> None:
        for _ in range(times):
            count.operations += 1
            event = Event(str(self.number), "faults", kind, NOW, self.number)
            try:
                if wait:
                    async with asyncio.timeout(SECONDS):
                        await self.bus.publish(event)
                else:
                    self.bus.send(event)
            except Overloaded:
                count.faults += 1
                continue
            self.history.append((kind, self.number))
            for ear, _ in self.ears:
                if kind in SELECTORS[ear.selector]:
                    ear.expected.append(self.number)
            self.number += 1

    async def _drained(self) -> None:
        async with asyncio.timeout(SECONDS):
            await self.bus.drain()
            await self.bus.drain()  # the failures of those that were handled just now, which "*" hears

    async def _close(self) -> None:
        async with asyncio.timeout(SECONDS):
            await self.bus.aclose()
        for ear, _ in self.ears:
            assert ear.heard == ear.expected
        assert asyncio.all_tasks() == {asyncio.current_task()}


def run(size: float) -> list[Invariant]:
    """2,000 lives of 50 steps (times `size`)."""
    return [count.verdict("core.bus.deliveries", lambda: examine(BusMachine, size))]
