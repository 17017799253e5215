# SPDX-License-Identifier: Apache-2.0
"""What every implementation of `nerv.protocols.Observable` does."""

import gc
from collections.abc import Awaitable, Callable
from typing import Any

from nerv.bus import Lanes
from nerv.protocols import Observable
from nerv.types import Event

Happen = Callable[[], Awaitable[None]]
"""Makes one more event happen."""


def everything(event: Event[Any]) -> bool:
    """Selects all but failures."""
    return event.type != "nerv.bus.subscriber-failed.v1"


class ObservableContract:
    """Inherit it and give the fixtures `observable`, new for each test, and `happen`, which makes one event happen in it."""

    async def test_a_subscriber_hears_what_happens_from_then_on(self, observable: Observable, happen: Happen) -> None:
        """In order, and nothing after it has cancelled."""
        await happen()
        heard: list[Event[Any]] = []
        subscription = observable.subscribe(everything, heard.append, weak=False)
        for _ in range(3):
            await happen()
        assert heard == observable.history(everything)[1:]
        assert len(heard) == 3
        subscription.cancel()
        await happen()
        assert len(heard) == 3

    async def test_a_selector_chooses(self, observable: Observable, happen: Happen) -> None:
        """By type, by pattern, by function."""
        await happen()
        [event] = observable.history(everything)
        heard: list[Event[Any]] = []

        def of_its_type(other: Event[Any]) -> bool:
            return other.type == event.type

        subscriptions = [
            observable.subscribe(selector, heard.append, weak=False)
            for selector in (event.type, f"{event.type[:4]}*", of_its_type, "something.else.v1")
        ]
        await happen()
        assert len(heard) == 3
        assert [subscription.handled for subscription in subscriptions] == [1, 1, 1, 0]

    async def test_a_late_one_hears_what_it_asks_for(self, observable: Observable, happen: Happen) -> None:
        """All that is kept, or the last so many; then what comes."""
        for _ in range(3):
            await happen()
        all_of_it: list[Event[Any]] = []
        last: list[Event[Any]] = []
        observable.subscribe(everything, all_of_it.append, weak=False, replay=True)
        observable.subscribe(everything, last.append, weak=False, replay=1)
        await happen()
        assert all_of_it == observable.history(everything)
        assert last == observable.history(everything, limit=2)

    async def test_one_that_fails_harms_no_other(self, observable: Observable, happen: Happen) -> None:
        """The others hear all, and the failure is an event."""
        heard: list[Event[Any]] = []
        failures: list[Event[Any]] = []

        def fail(event: Event[Any]) -> None:
            raise ValueError("on purpose")

        observable.subscribe(everything, fail, weak=False)
        observable.subscribe(everything, heard.append, weak=False)
        observable.subscribe("nerv.bus.subscriber-failed.v1", failures.append, weak=False)
        await happen()
        assert len(heard) == 1
        [failure] = failures
        assert "on purpose" in failure.data.error
        assert failure.causation_id == heard[0].id

    async def test_nobody_is_kept_alive(self, observable: Observable, happen: Happen) -> None:
        """A subscriber that nobody else holds is gone, and leaves no trace."""
        heard: list[Event[Any]] = []

        class Listener:
            def hear(self, event: Event[Any]) -> None:
                heard.append(event)

        listener = Listener()
        observable.subscribe(everything, listener.hear)
        await happen()
        del listener
        gc.collect()
        await happen()
        assert len(heard) == 1

    async def test_drained_means_handled(self, observable: Observable, happen: Happen) -> None:
        """Also by one that is fed through lanes, in order."""
        heard: list[Event[Any]] = []

        async def hear(event: Event[Any]) -> None:
            heard.append(event)

        observable.subscribe(everything, hear, weak=False, lanes=Lanes(capacity=10))
        for _ in range(5):
            await happen()
        await observable.drain()
        assert heard == observable.history(everything)

    async def test_it_says_who_listens(self, observable: Observable, happen: Happen) -> None:
        """A subscriber's name, and how many events it has handled, are somewhere in its description."""
        observable.subscribe(everything, lambda event: None, name="the listener", weak=False)
        await happen()
        assert "'the listener'" in str(observable.describe())
