# SPDX-License-Identifier: Apache-2.0
"""Suite *core*: containers whose parts fail, hang and are cancelled: all that was started is stopped, once, in order."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from nerv.cancelling import end
from nerv.di import Container, Scope
from nerv.errors import NervError
from nerv.types import LifecycleState
from tests.faults.core.clockwork import Clockwork
from tests.faults.core.machines import Count, examine
from tests.faults.verdict import Invariant

count = Count()

MOST = 6  # components: enough for every shape of needs that matters
START, STOP = 10.0, 8.0  # seconds of a clock that does not wait
ENDING = STOP + MOST * 0.6  # with what those that are late are given to react to their cancellation


class Broken(Exception):
    """What the parts raise."""


behaviours = st.sampled_from(
    ["well"] * 6 + ["fails to start", "hangs at start", "fails to stop", "hangs at stop", "stubborn at stop"]
)
kinds = st.sampled_from(["eager", "eager", "lazy", "lazy", "scoped", "factory"])
slowness = st.sampled_from([0.0, 1.0, 4.0])  # seconds to start
who = st.lists(st.booleans(), min_size=1, max_size=3)  # ask for a part, and stay to hear the answer
cancellations = st.none() | st.tuples(st.sampled_from(["parts", "seconds"]), st.integers(0, 2 * MOST))


class Part:
    """A component whose behaviour changes from life to life."""

    def __init__(self, name: str, kind: str, needs: list["Part"]) -> None:
        self.name, self.kind, self.needs = name, kind, needs
        self.brief: bool = kind == "scoped" or (kind == "factory" and any(need.brief for need in needs))
        self.behaviour = "well"
        self.seconds = 0.0

    @property
    def starts(self) -> bool:
        """Whether nothing keeps it from starting."""
        return not self.behaviour.endswith("start") and all(need.starts for need in self.needs)


class ContainerMachine(RuleBasedStateMachine):
    """One container with more and more parts, entered and left many times."""

    container_type: ClassVar[type[Container]] = Container

    def __init__(self) -> None:
        super().__init__()
        self.container = self.container_type("machine", start_seconds=START, stop_seconds=STOP)
        self.parts: list[Part] = []
        self.alive: list[Part] = []
        self.violations: list[str] = []  # for the container would take an error of a part for its own failure
        self.noted = 0
        self.asking: list[asyncio.Task[str]] = []
        self.hear: Callable[[], object] = lambda: None

    @initialize(data=st.data(), kinds=st.lists(kinds, min_size=1, max_size=MOST))
    def begin(self, data: st.DataObject, kinds: list[str]) -> None:
        """Some parts."""
        for kind in kinds:
            self.register(data, kind)

    @rule(data=st.data(), kind=kinds)
    def register(self, data: st.DataObject, kind: str) -> None:
        """One part more, which needs some of those that are there and live as long."""
        if len(self.parts) == MOST:
            return
        count.operations += 1
        there = [part for part in self.parts if kind in ("scoped", "factory") or not part.brief]
        needs = data.draw(st.lists(st.sampled_from(there), unique=True)) if there else []
        part = Part(f"part{len(self.parts)}", kind, needs)
        self.parts.append(part)
        if kind in ("eager", "lazy"):
            self.container.singleton(part.name, self._maker(part), lazy=kind == "lazy")
        elif kind == "scoped":
            self.container.scoped(part.name, self._maker(part))
        else:
            self.container.factory(part.name, _signed(lambda **_: part.name, part))

    @rule(data=st.data(), breaks=st.booleans(), cancel=cancellations)
    def live(self, data: st.DataObject, breaks: bool, cancel: tuple[str, int] | None) -> None:
        """One life, in which parts misbehave, several ask for lazy ones at once, some of whom go away, and somebody may
        cancel it all, after so many parts have come or gone, or after so many seconds.
        """
        count.operations += 1
        for part in self.parts:
            part.behaviour = "well" if part.kind == "factory" else data.draw(behaviours)
            part.seconds = data.draw(slowness)
            if part.kind == "scoped" and part.behaviour in ("hangs at stop", "stubborn at stop"):
                part.behaviour = "fails to stop"  # a scope is as quick as what is in it
            count.faults += part.behaviour != "well"
        asks = data.draw(st.lists(st.tuples(st.sampled_from(self.parts), who), max_size=3))
        asked = [(part, stays) for part, askers in asks for stays in askers]
        self.alive, self.asking, self.noted = [], [], 0
        with asyncio.Runner(loop_factory=Clockwork) as runner:
            runner.run(self._life(asked, breaks, cancel))
        self._must(not self.alive, f"{[part.name for part in self.alive]} still run")
        busy = [node.name for node in self.container.graph().nodes if node.state in _BUSY]
        self._must(not busy, f"{busy} are not over")
        assert not self.violations, "; ".join(self.violations)

    def _must(self, so: bool, what: str) -> None:
        if not so:
            self.violations.append(what)

    def _up(self, part: Part) -> None:
        self._must(part not in self.alive, f"{part.name} was started twice")
        running = [other for other in part.needs if other.kind != "factory"]
        self._must(all(other in self.alive for other in running), f"{part.name} was started before what it needs")
        self.alive.append(part)
        self._note()

    def _down(self, part: Part) -> None:
        kin = [other for other in self.alive if (other.kind == "scoped") == (part.kind == "scoped")]
        self._must(part in kin, f"{part.name} was stopped twice")
        self._must(not kin or kin[-1] is part, f"{part.name} was stopped before what was started after it")
        self.alive = [other for other in self.alive if other is not part]
        self._note()

    def _note(self) -> None:
        self.noted += 1
        self.hear()

    def _maker(self, part: Part) -> Callable[..., Any]:
        async def make(**_: Any) -> AsyncIterator[str]:
            await asyncio.sleep(part.seconds)
            if part.behaviour == "fails to start":
                raise Broken(part.name)
            if part.behaviour == "hangs at start":
                await asyncio.Event().wait()
            self._up(part)
            try:
                yield part.name
            finally:
                self._down(part)
                await _leave(part)

        return _signed(make, part)

    async def _life(self, asked: list[tuple[Part, bool]], breaks: bool, cancel: tuple[str, int] | None) -> None:
        task = asyncio.create_task(self._block(asked, breaks))
        after, number = cancel or ("never", 0)
        if after == "seconds":
            asyncio.get_running_loop().call_later(number, task.cancel)
        self.hear = lambda: after == "parts" and self.noted == number and task.cancel()
        with suppress(Broken, NervError, asyncio.CancelledError, ExceptionGroup):
            await task
        ended = asyncio.get_running_loop().time()
        await asyncio.gather(*self.asking, return_exceptions=True)
        self._must(asyncio.get_running_loop().time() == ended, "who asked was not answered when all was over")
        self._must(asyncio.all_tasks() == {asyncio.current_task()}, "a task was left behind")

    async def _block(self, asked: list[tuple[Part, bool]], breaks: bool) -> None:
        clock = asyncio.get_running_loop().time
        ended: float | None = None
        try:
            async with self.container as container:
                try:
                    async with container.scope() as scope:
                        await self._ask(scope, asked)
                    if breaks:
                        raise Broken("the block")
                finally:
                    ended = clock()
        finally:
            self._must(ended is None or clock() - ended <= ENDING, "it took too long to stop")

    async def _ask(self, scope: Scope, asked: list[tuple[Part, bool]]) -> None:
        async def ask(part: Part) -> str:
            async with asyncio.timeout(2 * START * MOST):  # a scope waits as long as it takes
                found: str = await (scope.get(part.name) if part.brief else self.container.get(part.name))
                return found

        self.asking = [asyncio.create_task(ask(part)) for part, _ in asked]
        try:
            await asyncio.sleep(0)
            for task, (_, stays) in zip(self.asking, asked, strict=True):
                if not stays:
                    task.cancel()
            await asyncio.wait(self.asking or [asyncio.create_task(asyncio.sleep(0))])
        except asyncio.CancelledError:
            for task, (part, _) in zip(self.asking, asked, strict=True):
                if part.brief:
                    await end(task)  # nobody asks of a scope that is over; of the container they ask on while it stops
            raise
        answers = await asyncio.gather(*self.asking, return_exceptions=True)
        waits = any(part.behaviour == "hangs at start" for part, _ in asked)
        for (part, stays), answer in zip(asked, answers, strict=True):
            if stays and part.starts and not (part.brief and waits):
                self._must(answer == part.name, f"{part.name} was not there: {answer!r}")


async def _leave(part: Part) -> None:
    if part.behaviour == "stubborn at stop":
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    if part.behaviour in ("hangs at stop", "stubborn at stop"):
        await asyncio.Event().wait()
    await asyncio.sleep(0)
    if part.behaviour == "fails to stop":
        raise Broken(part.name)


def _signed(make: Callable[..., Any], part: Part) -> Callable[..., Any]:
    """The same function; its parameters tell the container what it needs."""
    needs = [inspect.Parameter(need.name, inspect.Parameter.KEYWORD_ONLY) for need in part.needs]
    make.__signature__ = inspect.Signature(needs)  # type: ignore[attr-defined]  # every function may have one
    return make


_BUSY = {LifecycleState.STARTING, LifecycleState.RUNNING, LifecycleState.STOPPING}


def run(size: float) -> list[Invariant]:
    """2,000 containers of 50 steps (times `size`)."""
    return [count.verdict("core.container.life", lambda: examine(ContainerMachine, size))]
