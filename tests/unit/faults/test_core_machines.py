# SPDX-License-Identifier: Apache-2.0
"""The machines of suite *core* find nothing in the components, and find each bug that is seeded into them."""

import asyncio
from typing import Any

import pytest
from hypothesis.stateful import RuleBasedStateMachine

from nerv.bus import EventBus
from nerv.bus.lanes import Lane
from nerv.effects import EffectMonad, Handlers
from nerv.effects.interpret import interpret
from nerv.state import Delta
from nerv.types import Event
from tests.faults.core import bus, delta, effects
from tests.faults.core.machines import examine

SIZE = 0.0125  # 25 lives


@pytest.mark.parametrize(
    ("machine", "count"),
    [(delta.DeltaMachine, delta.count), (effects.EffectsMachine, effects.count), (bus.BusMachine, bus.count)],
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


@pytest.mark.parametrize(
    "machine", [ForgetsWhatWas, InvertsTheOrderOnly, LeavesTasks, SwallowsErrors, LosesTheTenthMachine]
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
