# SPDX-License-Identifier: Apache-2.0
"""The machines of suite *core* find nothing in the components, and find each bug that is seeded into them."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis.stateful import RuleBasedStateMachine

from nerv.bus import EventBus
from nerv.bus.lanes import Lane
from nerv.di import Container
from nerv.di.component import Component
from nerv.di.life import Life
from nerv.effects import EffectMonad, Handlers
from nerv.effects.interpret import interpret
from nerv.state import Delta
from nerv.types import Event
from tests.faults.core import bus, container, delta, effects
from tests.faults.core.machines import examine

SIZE = 0.0125  # 25 lives


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What the machines break on purpose is no news."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("machine", "count"),
    [
        (delta.DeltaMachine, delta.count),
        (effects.EffectsMachine, effects.count),
        (bus.BusMachine, bus.count),
        (container.ContainerMachine, container.count),
    ],
)
def test_the_components_keep_their_promises(machine: type[RuleBasedStateMachine], count: Any) -> None:
    """Over lives that did something, and met faults."""
    count.operations = count.faults = 0
    examine(machine, SIZE, same=True)
    assert count.operations > 200
    assert count.faults > 20


class ForgetsWhatWas(delta.DeltaMachine):
    """Composed, a place that changed twice remembers its middle."""

    @staticmethod
    def compose(one: Delta, following: Delta) -> Delta:
        """The second's changes win whole."""
        merged = {c.path: c for c in one.changes} | {c.path: c for c in following.changes}
        return Delta(tuple(sorted(merged.values(), key=lambda c: [(isinstance(s, str), s) for s in c.path])))


class InvertsTheOrderOnly(delta.DeltaMachine):
    """The way back is taken forward."""

    @staticmethod
    def invert(one: Delta) -> Delta:
        """Reversed, but not undone."""
        return Delta(tuple(reversed(one.changes)))


class LeavesTasks(effects.EffectsMachine):
    """Something goes on after a program has ended."""

    left: Any = None

    @staticmethod
    async def interpret(program: EffectMonad[Any], handlers: Handlers) -> Any:
        """As it should, but for one task."""
        LeavesTasks.left = asyncio.create_task(asyncio.Event().wait())
        return await interpret(program, handlers)


class SwallowsErrors(effects.EffectsMachine):
    """A failure is answered with nothing."""

    @staticmethod
    async def interpret(program: EffectMonad[Any], handlers: Handlers) -> Any:
        """None instead of the error."""
        try:
            return await interpret(program, handlers)
        except effects.Failed:
            return None


class LosesTheTenth(EventBus):
    """Every tenth event is not delivered."""

    def send(self, event: Event[Any]) -> None:
        """Nine of ten."""
        if event.id.isdigit() and int(event.id) % 10 == 9:
            return
        super().send(event)


class LosesTheTenthMachine(bus.BusMachine):
    """With that bus."""

    bus_type = LosesTheTenth


class StopsInOrder(Container):
    """What was started first is stopped first."""

    async def _stop(self) -> list[Exception]:
        self._started.reverse()
        return await super()._stop()


class StopsAtTheFirstFailure(Container):
    """What follows one that does not stop well is left running."""

    async def _end(self, life: Life, deadline: float) -> Exception | None:
        if (failure := await super()._end(life, deadline)) is not None:
            raise failure
        return None


class ForgetsWhatStarts(Container):
    """Who is just starting when all is over goes on."""

    async def _stop(self) -> list[Exception]:
        self._lives = {key: life for key, life in self._lives.items() if life in self._started}
        return await super()._stop()


class StartsForEachWhoAsks(Container):
    """Who asks while one is starting has another one started."""

    async def _singleton(self, component: Component) -> Any:
        if not self.running(component.key):
            await self._prepare(component)
            return await self._begin(component).value()
        return await super()._singleton(component)


class StartsWithoutItsNeeds(Container):
    """A lazy one that is needed is not started."""

    async def _prepare(self, component: Component) -> None:
        """Nothing."""


class WaitsForEver(Container):
    """One that hangs holds up all the others."""

    async def _end(self, life: Life, deadline: float) -> Exception | None:
        return await super()._end(life, deadline + 3600)


class IsCutShort(Container):
    """Who is cancelled while stopping does not wait for its end."""

    async def _stopped(self) -> list[Exception]:
        self._stopping = True
        return await self._stop()


class LosesWhoAskedFirst(Container):
    """The start is broken off when whoever asked first goes away."""

    def _begin(self, component: Component) -> Life:
        life, asking = super()._begin(component), asyncio.current_task()
        assert asking is not None
        asking.add_done_callback(lambda _: asking.cancelled() and not life.running and life._task.cancel())
        return life


def with_container(kind: type[Container]) -> type[RuleBasedStateMachine]:
    """A machine with such containers."""
    return type(kind.__name__, (container.ContainerMachine,), {"container_type": kind})


@pytest.mark.parametrize(
    "machine",
    [
        ForgetsWhatWas,
        InvertsTheOrderOnly,
        LeavesTasks,
        SwallowsErrors,
        LosesTheTenthMachine,
        *map(
            with_container,
            [
                StopsInOrder,
                StopsAtTheFirstFailure,
                ForgetsWhatStarts,
                StartsForEachWhoAsks,
                StartsWithoutItsNeeds,
                WaitsForEver,
                IsCutShort,
                LosesWhoAskedFirst,
            ],
        ),
    ],
)
def test_a_seeded_bug_is_found(machine: type[RuleBasedStateMachine]) -> None:
    """Within as few lives."""
    with pytest.raises(BaseException):  # noqa: B017, PT011 - whatever the machine meets
        examine(machine, SIZE, same=True)


@pytest.fixture
def newest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes that hand out what came last."""

    def append(self: Lane, event: Event[Any], put: Any = Lane.append) -> None:
        put(self, event)
        self.queue.rotate(1)

    monkeypatch.setattr(Lane, "append", append)


@pytest.mark.usefixtures("newest_first")
def test_a_lane_that_breaks_the_order_is_found() -> None:
    """Seeded into the lane itself."""
    with pytest.raises(BaseException):  # noqa: B017, PT011
        examine(bus.BusMachine, SIZE, same=True)
