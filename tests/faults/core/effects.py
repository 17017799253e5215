# SPDX-License-Identifier: Apache-2.0
"""Suite *core*: random programs of effects against a model that says what may come of them; failures and cancellations."""

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from nerv.effects import Effect, EffectMonad, Handlers, ask, parallel_all, pure, race, sequence
from nerv.effects.interpret import interpret
from nerv.types import frozen
from tests.faults.core.machines import Count, examine
from tests.faults.verdict import Invariant

count = Count()
SECONDS = 10.0  # a program that takes longer is deadlocked

Outcome = tuple[str, Any]


@frozen
class Step(Effect[int]):
    """Gives its number, or fails with it, after so many turns of the loop."""

    kind: ClassVar[str] = "fault.step"
    number: int
    turns: int = 0
    fails: bool = False


@frozen
class Batched(Step):
    """The same by a batch handler."""

    kind: ClassVar[str] = "fault.batched"


class Failed(Exception):
    """What a step fails with."""


async def step(effect: Step) -> int:
    """The handler."""
    count.operations += 1
    for _ in range(effect.turns):
        await asyncio.sleep(0)
    if effect.fails:
        count.faults += 1
        raise Failed(effect.number)
    return effect.number


def batch(effects: Sequence[Batched]) -> list[int | Exception]:
    """The batch handler."""
    count.operations += len(effects)
    count.faults += sum(effect.fails for effect in effects)
    return [Failed(effect.number) if effect.fails else effect.number for effect in effects]


steps = st.builds(Step, st.integers(0, 3), st.integers(0, 2), st.booleans()) | st.builds(
    Batched, st.integers(0, 3), st.just(0), st.booleans()
)
drawn = st.recursive(
    st.tuples(st.just("ask"), steps) | st.tuples(st.just("pure"), st.integers(0, 3)),
    lambda inner: st.one_of(
        st.tuples(st.just("map"), inner),
        st.tuples(st.just("bind"), inner, inner),
        st.tuples(st.just("recover"), inner, inner),
        st.tuples(st.just("sequence"), st.lists(inner, max_size=4)),
        st.tuples(st.just("parallel"), st.lists(inner, max_size=4), st.integers(1, 3)),
        st.tuples(st.just("race"), st.lists(inner, min_size=1, max_size=3)),
        st.tuples(st.just("timeout"), inner),
    ),
    max_leaves=8,
)


def program(tree: Any) -> EffectMonad[Any]:
    """The program of what was drawn."""
    match tree:
        case ("ask", effect):
            return ask(effect)
        case ("pure", value):
            return pure(value)
        case ("map", inner):
            return program(inner).map(lambda value: [value])
        case ("bind", first, second):
            return program(first).flat_map(lambda value: program(second).map(lambda other: [value, other]))
        case ("recover", inner, instead):
            return program(inner).recover(lambda error: program(instead))
        case ("sequence", inner):
            return sequence([program(one) for one in inner])
        case ("parallel", inner, limit):
            return parallel_all([program(one) for one in inner], limit=limit)
        case ("race", inner):
            return race(*(program(one) for one in inner))
        case ("timeout", inner):
            return program(inner).timeout(SECONDS)
    raise AssertionError(tree)


def allowed(tree: Any) -> list[Outcome]:
    """All that may come of it: of failures at the same time any may be the first, and any of a race may win."""
    match tree:
        case ("ask", effect):
            return [("failed", effect.number)] if effect.fails else [("done", effect.number)]
        case ("pure", value):
            return [("done", value)]
        case ("map", inner):
            return [(how, [value]) if how == "done" else (how, value) for how, value in allowed(inner)]
        case ("bind", first, second):
            return _both(allowed(first), allowed(second))
        case ("recover", inner, instead):
            found = allowed(inner)
            done = [outcome for outcome in found if outcome[0] == "done"]
            return done + (allowed(instead) if len(done) < len(found) else [])
        case ("timeout", inner):
            return allowed(inner)
        case ("race", inner):
            return _race([allowed(one) for one in inner])
        case ("sequence", inner) | ("parallel", inner, _):
            return _all([allowed(one) for one in inner], in_order=tree[0] == "sequence")
    raise AssertionError(tree)


def _both(first: list[Outcome], second: list[Outcome]) -> list[Outcome]:
    found: list[Outcome] = []
    for how, value in first:
        if how != "done":
            found.append((how, value))
            continue
        found += [(then, [value, other]) if then == "done" else (then, other) for then, other in second]
    return found


def _race(each: list[list[Outcome]]) -> list[Outcome]:
    done = [outcome for found in each for outcome in found if outcome[0] == "done"]
    sure = any(all(how == "done" for how, _ in found) for found in each)
    return done if sure else [*done, ("failed", "race")]


def _all(each: list[list[Outcome]], *, in_order: bool) -> list[Outcome]:
    values: list[list[Any]] = [[]]
    failures: list[Outcome] = []
    for found in each:
        failures += [outcome for outcome in found if outcome[0] == "failed"]
        good = [value for how, value in found if how == "done"]
        if not good and in_order:
            return failures
        values = [[*before, value] for before in values for value in good][:200]
    return failures + [("done", value) for value in values]


class EffectsMachine(RuleBasedStateMachine):
    """One loop, on which programs run one after the other; nothing of one may be left when the next begins."""

    interpret: ClassVar[Any] = staticmethod(interpret)

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.handlers = Handlers().on(Step, step).on_batch(Batched, batch, size=2)

    def teardown(self) -> None:
        """The loop ends."""
        self.runner.close()

    @rule(tree=drawn)
    def perform(self, tree: Any) -> None:
        """What comes of a program is one of what the model allows, and no task is left."""
        outcome = self.runner.run(self._perform(program(tree)))
        assert outcome in allowed(tree), (outcome, tree)

    @rule(tree=drawn, turns=st.integers(0, 6))
    def cancel(self, tree: Any, turns: int) -> None:
        """Cancelled at any moment, a program leaves no task."""
        count.faults += 1
        self.runner.run(self._cancelled(program(tree), turns))

    async def _perform(self, made: EffectMonad[Any]) -> Outcome:
        try:
            async with asyncio.timeout(SECONDS):
                value = await self.interpret(made, self.handlers)
        except Failed as error:
            outcome = ("failed", error.args[0])
        except ExceptionGroup:
            outcome = ("failed", "race")
        else:
            outcome = ("done", value)
        await self._nothing_left()
        return outcome

    async def _cancelled(self, made: EffectMonad[Any], turns: int) -> None:
        task = asyncio.create_task(self.interpret(made, self.handlers))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        _, pending = await asyncio.wait({task}, timeout=SECONDS)
        assert not pending, "a cancelled program goes on"
        if not task.cancelled():
            task.exception()
        await self._nothing_left()

    async def _nothing_left(self) -> None:
        await asyncio.sleep(0)  # what has ended is forgotten in the next turn
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left


def run(size: float) -> list[Invariant]:
    """2,000 loops of 50 programs (times `size`)."""
    return [count.verdict("core.effects.outcomes", lambda: examine(EffectsMachine, size))]
