# SPDX-License-Identifier: Apache-2.0
"""How effects are executed: live, as a dry run that only says what it would do, or as a replay of what was answered."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from nerv.effects.handlers import Handlers
from nerv.effects.performing import Registered, perform_all
from nerv.errors import Invalid, Misconfigured
from nerv.types import Description, Effect, R

Perform = Callable[[Effect[Any]], Awaitable[Any]]


class Execution(Protocol):
    """Stands between a program and its handlers. One that is not there at all is the live execution."""

    async def perform(self, effect: Effect[Any], live: Perform) -> Any:
        """The answer to an effect; `live` asks its handler."""
        ...

    def describe(self) -> Description:
        """The execution as data."""
        ...


@dataclass(frozen=True, slots=True)
class Recorded:
    """An effect and what came of it: an answer, or the error that was raised."""

    effect: Effect[Any]
    answer: Any = None
    error: Exception | None = None


@dataclass(slots=True)
class Recording:
    """Live, and keeps a record by which it can be replayed. The record is in the order in which answers came."""

    record: list[Recorded] = field(default_factory=list)

    async def perform(self, effect: Effect[Any], live: Perform) -> Any:
        """The handler's answer, recorded. What was cancelled is not."""
        try:
            answer = await live(effect)
        except Exception as error:
            self.record.append(Recorded(effect, error=error))
            raise
        self.record.append(Recorded(effect, answer))
        return answer

    def describe(self) -> Description:
        """The recording as data."""
        return _described("Recording", self.record)


@dataclass(slots=True)
class DryRun:
    """Performs nothing: records what it would do, and answers by stand-ins (by type of effect; None without one)."""

    answers: Mapping[type[Effect[Any]], Callable[[Any], Any]] = field(default_factory=dict)
    record: list[Recorded] = field(default_factory=list)

    async def perform(self, effect: Effect[Any], live: Perform) -> Any:
        """The stand-in's answer."""
        stand_in = next((self.answers[cls] for cls in type(effect).__mro__ if cls in self.answers), None)
        answer = None if stand_in is None else stand_in(effect)
        self.record.append(Recorded(effect, answer))
        return answer

    def describe(self) -> Description:
        """The dry run as data."""
        return _described("DryRun", self.record)


class Replay:
    """Performs nothing: answers from a record. Equal effects get their answers in the order of the record.

    Raises Invalid for an effect that is not in the record (any more): the program is not the one that was recorded.
    """

    __slots__ = ("_left",)

    def __init__(self, record: list[Recorded]) -> None:
        self._left = list(record)

    @property
    def left(self) -> list[Recorded]:
        """What has not been asked for yet; nothing after a faithful replay."""
        return list(self._left)

    async def perform(self, effect: Effect[Any], live: Perform) -> Any:
        """The recorded answer; a recorded error is raised again."""
        for index, found in enumerate(self._left):
            if found.effect == effect:
                del self._left[index]
                if found.error is not None:
                    raise found.error
                return found.answer
        raise Invalid(f"the record has no {type(effect).__name__} on {effect.target!r} here; the program has changed")

    def describe(self) -> Description:
        """The replay as data."""
        return _described("Replay", self._left, counter="left")


def _described(kind: str, record: Sequence[Recorded], counter: str = "recorded") -> Description:
    kinds = tuple(sorted({str(found.effect.kind) for found in record}))
    return Description(kind, "execution", inputs=kinds, counters={counter: len(record)})


@dataclass(frozen=True, slots=True)
class Context:
    """Who performs the effects of this task, and how (`nerv.protocols.Effectful`). No execution is live."""

    handlers: Handlers
    execution: Execution | None = None

    def performs(self, effect: type[Effect[Any]]) -> bool:
        """A dry run and a replay answer whatever is asked; all others what there are handlers of."""
        return isinstance(self.execution, DryRun | Replay) or self.handlers.performs(effect)

    async def perform(self, effect: Effect[R]) -> R:
        """The answer to one effect, without a program around it, by the execution if there is one."""
        if self.execution is None:
            return await self.handlers.perform(effect)
        answer: R = await self.execution.perform(effect, self.handlers.perform)
        return answer

    async def perform_all(self, effects: Sequence[Effect[Any]]) -> list[Any]:
        """The outcome of each (see `Effectful.perform_all`)."""
        if self.execution is None:
            return await self.handlers.perform_all(effects)
        return await perform_all(effects, lambda _: Registered(self.perform))

    def describe(self) -> Description:
        """The context as data; its parts are handlers and execution."""
        parts = (
            (self.handlers.describe(),)
            if self.execution is None
            else (self.handlers.describe(), self.execution.describe())
        )
        return Description("Context", "live" if self.execution is None else type(self.execution).__name__, parts=parts)


_CONTEXT: ContextVar[Context | None] = ContextVar("nerv.effects", default=None)


@contextmanager
def using(handlers: Handlers | None = None, execution: Execution | None = None) -> Iterator[Context]:
    """Run programs in this block by these handlers and this execution; what is left out stays as it is outside."""
    outer = _CONTEXT.get()
    chosen = handlers or (outer.handlers if outer is not None else None)
    if chosen is None:
        raise Misconfigured("there are no handlers here yet; give using() some")
    context = Context(chosen, execution or (outer.execution if outer is not None else None))
    token = _CONTEXT.set(context)
    try:
        yield context
    finally:
        _CONTEXT.reset(token)


def context_of(handlers: Handlers | None) -> Context:
    """The context with these handlers, or the one around. Raises Misconfigured when there is none."""
    outer = _CONTEXT.get()
    if handlers is not None:
        return Context(handlers, outer.execution if outer is not None else None)
    if outer is None:
        raise Misconfigured("a program needs handlers: pass them to run(), or run it within `using(handlers)`")
    return outer
