# SPDX-License-Identifier: Apache-2.0
"""The interpreter: a loop with a stack of its own, so that a program of any length takes none of Python's."""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import repeat
from typing import Any, TypeAlias, cast

from nerv.effects.batching import Batcher
from nerv.effects.execution import Context, context_of
from nerv.effects.handlers import Handlers
from nerv.effects.monad import (
    Answered,
    Asked,
    Bound,
    EffectMonad,
    First,
    InOrder,
    Mapped,
    Pure,
    Recovered,
    Retried,
    Timed,
    Together,
    program_of,
)
from nerv.effects.performing import Handler, answered
from nerv.effects.together import all_or_nothing, cancelled
from nerv.errors import UnknownOutcome
from nerv.types import Effect, R

TURN = 1000  # steps after which other tasks get a turn, so that a program that never waits can be cancelled

Frame: TypeAlias = Bound[Any] | Mapped[Any] | Recovered[Any]
Step: TypeAlias = EffectMonad[Any] | Effect[Any]


async def interpret(program: EffectMonad[R], handlers: Handlers | None = None) -> R:
    """Run a program by these handlers, or by those of the context. Raises what its effects and functions raise."""
    interpreter = _Interpreter(context_of(handlers))
    try:
        result: R = await interpreter.run(program)
    finally:
        interpreter.flush()
    return result


class _Call:
    """What performs the effects of a type, how often it was asked to, and the last type of answer that nobody awaits."""

    __slots__ = ("count", "perform", "plain")

    def __init__(self, perform: Handler) -> None:
        self.perform = perform
        self.count = 0
        self.plain: type = type(None)


class _Calls(dict[type[Effect[Any]], _Call]):
    """What performs each type of effect in one run: found once, not for each effect."""

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        self._context = context

    def __missing__(self, kind: type[Effect[Any]]) -> _Call:
        found = self[kind] = _Call(self._performer(kind))
        return found

    def _performer(self, kind: type[Effect[Any]]) -> Handler:
        if self._context.execution is None:
            return self._context.handlers.find(kind).call
        return partial(self._context.execution.perform, live=self._live)

    async def _live(self, effect: Effect[Any]) -> Any:
        return await answered(self._context.handlers.find(type(effect)).call(effect))


class _Interpreter:
    __slots__ = ("_calls", "_context")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._calls = _Calls(context)

    async def run(self, program: Step) -> Any:
        """One loop for all: what a step costs is what a program costs, so that nothing here is a function of its own."""
        stack: list[Frame] = []
        push, pop, calls = stack.append, stack.pop, self._calls
        node: Any = program  # a node or an effect; the checks below are by identity, which mypy cannot follow
        while True:
            try:
                for _ in repeat(None, TURN):
                    kind = type(node)
                    while kind is Bound or kind is Mapped or kind is Recovered:
                        push(node)
                        node = node.program
                        kind = type(node)
                    if kind is Answered or kind is Asked:
                        effect = node.effect
                        call = calls[type(effect)]
                        call.count += 1
                        value = call.perform(effect)
                        if type(value) is not call.plain:
                            if hasattr(type(value), "__await__"):
                                value = await value
                            else:
                                call.plain = type(value)
                        if kind is Answered:
                            node = node.function(value)
                            continue
                    elif kind is Pure:
                        value = node.value
                    elif isinstance(node, EffectMonad):
                        value = await self._combined(node)
                    else:
                        node = program_of(node)
                        continue
                    while stack:
                        frame = pop()
                        kind = type(frame)
                        if kind is Bound:
                            node = frame.function(value)
                            break
                        if kind is Mapped:
                            value = frame.function(value)
                    else:
                        return value
                await asyncio.sleep(0)
            except Exception as error:
                node = _rescue(stack, error)

    def flush(self) -> None:
        """Add what was performed to the counters of the handlers."""
        performed = self._context.handlers.performed
        for kind, call in self._calls.items():
            performed[str(kind.kind)] += call.count

    async def _combined(self, node: EffectMonad[Any]) -> Any:
        match node:
            case InOrder():
                return await self._in_order(node)
            case Together():
                return await self._together(node)
            case First():
                return await self._first(node)
            case Retried():
                return await self._retried(node)
            case Timed():
                return await self._timed(node)
        raise TypeError(f"no such program: {node!r}")

    async def _in_order(self, node: InOrder) -> list[Any]:
        return [await self.run(step) for step in node.steps]

    async def _together(self, node: Together) -> list[Any]:
        batches, single = self._split(node.steps)
        if not single and len(batches) == 1:
            [batcher] = batches
            return await self._batch(batcher, cast("Sequence[Effect[Any]]", node.steps))
        results: list[Any] = [None] * len(node.steps)
        jobs = [self._fill(batcher, indices, node.steps, results) for batcher, indices in batches.items()]
        todo = iter(single)
        jobs += [self._work(todo, node.steps, results) for _ in range(min(node.limit, len(single)))]
        await all_or_nothing(jobs)
        return results

    def _split(self, steps: Sequence[Step]) -> tuple[dict[Batcher, Sequence[int]], Sequence[int]]:
        """Which steps are effects with a batch handler, by handler; and which are others."""
        batchers = {kind: self._batcher(kind) for kind in set(map(type, steps))}
        if len(batchers) == 1:
            [only] = batchers.values()
            everything = range(len(steps))
            return ({}, everything) if only is None else ({only: everything}, ())
        batches: dict[Batcher, list[int]] = {}
        single: list[int] = []
        for index, step in enumerate(steps):
            batcher = batchers[type(step)]
            (single if batcher is None else batches.setdefault(batcher, [])).append(index)
        return dict(batches), single

    def _batcher(self, kind: type[Any]) -> Batcher | None:
        if self._context.execution is not None or not issubclass(kind, Effect):
            return None
        return self._context.handlers.find(kind).batcher

    async def _batch(self, batcher: Batcher, effects: Sequence[Effect[Any]]) -> list[Any]:
        self._calls[type(effects[0])].count += len(effects)
        answers = await batcher.many(effects)
        if any(issubclass(kind, Exception) for kind in set(map(type, answers))):
            raise next(answer for answer in answers if isinstance(answer, Exception))
        return answers

    async def _fill(self, batcher: Batcher, indices: Sequence[int], steps: Sequence[Step], results: list[Any]) -> None:
        effects = [cast("Effect[Any]", steps[index]) for index in indices]
        for index, answer in zip(indices, await self._batch(batcher, effects), strict=True):
            results[index] = answer

    async def _work(self, todo: Iterator[int], steps: Sequence[Step], results: list[Any]) -> None:
        for index in todo:
            results[index] = await self.run(steps[index])

    async def _first(self, node: First[Any]) -> Any:
        tasks = [asyncio.create_task(self.run(step)) for step in node.steps]
        running = set(tasks)
        errors: list[Exception] = []
        try:
            while running:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    error = task.exception()
                    if error is None:
                        return task.result()
                    if not isinstance(error, Exception):
                        raise error
                    errors.append(error)
        finally:
            await cancelled(tasks)
        raise ExceptionGroup(f"all {len(errors)} in the race failed", errors)

    async def _retried(self, node: Retried[Any]) -> Any:
        policy = node.policy
        deadline, longest = time.monotonic() + policy.deadline, policy.first
        for attempt in range(1, policy.attempts + 1):
            try:
                return await self.run(node.program)
            except Exception as error:
                pause = random.uniform(0, longest)  # noqa: S311 - jitter, not a secret
                last = attempt == policy.attempts or time.monotonic() + pause > deadline
                if last or not policy.retries(error):
                    raise
            await asyncio.sleep(pause)
            longest = min(longest * 2, policy.longest)
        raise AssertionError("the last attempt returns or raises")

    async def _timed(self, node: Timed[Any]) -> Any:
        limit = asyncio.timeout(node.seconds)
        try:
            async with limit:
                return await self.run(node.program)
        except TimeoutError:
            if not limit.expired():
                raise
            raise UnknownOutcome(f"not done within {node.seconds:g} s; what it had begun may have happened") from None


def _rescue(stack: list[Frame], error: Exception) -> EffectMonad[Any]:
    """Go back to whoever recovers from an error. Raises it when nobody does."""
    while stack:
        frame = stack.pop()
        if type(frame) is Recovered:
            try:
                return program_of(frame.function(error))
            except Exception as other:
                error = other
    raise error
