# SPDX-License-Identifier: Apache-2.0
"""A chain of middleware: what becomes of an event on its way, decided purely, in the order in which it was declared.

The same chain serves an `EventBus` of one process and the topics of the broker.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from nerv.bus.model import Delay, Middleware, Routed, Selector, selects
from nerv.errors import Misconfigured, NervError, Refused, SchemaMismatch
from nerv.types import Description, Event
from nerv.types.frozen import frozen


class Outcome(StrEnum):
    """What became of an event in a chain."""

    PASSED = "passed"
    CHANGED = "changed"
    ROUTED = "routed"
    DROPPED = "dropped"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Step:
    """A middleware with a name that tells what it does, such as `redact(card)`. `routes` are all the topics it may name."""

    name: str
    function: Middleware
    routes: tuple[str, ...] = ()

    def __call__(self, event: Event[Any]) -> Event[Any] | Delay | Routed | None:
        """What becomes of the event. Raises what the function raises."""
        return self.function(event)


@frozen
class Passed:
    """An event behind a chain; `index` is its place in the batch, `by` are the steps that did something to it.

    `event` is None where it was dropped or refused, `error` is there where it was refused.
    """

    index: int
    topic: str
    event: Event[Any] | None
    outcome: Outcome = Outcome.PASSED
    by: tuple[str, ...] = ()
    error: NervError | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """Steps in order; pure. As a sequence of them it is the `middleware` of an `EventBus`."""

    steps: tuple[Step, ...] = field(default=())

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def run(self, topic: str, events: Sequence[Event[Any]]) -> list[Passed]:
        """What becomes of each event of a batch on its way to `topic`. One that a step refuses harms no other here."""
        if not self.steps:
            return [Passed(index, topic, event) for index, event in enumerate(events)]
        return [self._one(index, topic, event) for index, event in enumerate(events)]

    def describe(self) -> Description:
        """The chain as data."""
        return Description("Chain", "middleware", inputs=tuple(step.name for step in self.steps))

    def _one(self, index: int, topic: str, event: Event[Any]) -> Passed:
        at, outcome, by = event, Outcome.PASSED, list[str]()
        for step in self.steps:
            try:
                answer = step.function(at)
                if answer is at:
                    continue
                by.append(step.name)
                if answer is None:
                    return Passed(index, topic, None, Outcome.DROPPED, tuple(by))
                if isinstance(answer, Routed):
                    topic, at, outcome = answer.topic, answer.event, Outcome.ROUTED
                else:
                    at, outcome = _same(event, answer), max(outcome, Outcome.CHANGED, key=_WEIGHT.index)
            except Exception as error:  # a step is the app's code: it may raise anything
                return Passed(index, topic, None, Outcome.REFUSED, (step.name,), _refusal(step, event, error))
        return Passed(index, topic, at, outcome, tuple(by))


_WEIGHT = (Outcome.PASSED, Outcome.CHANGED, Outcome.ROUTED)


def named(middleware: Middleware) -> Step:
    """A middleware as a step: a plain function has its own name."""
    if isinstance(middleware, Step):
        return middleware
    return Step(str(getattr(middleware, "__name__", type(middleware).__name__)), middleware)


def limited(step: Step, types: Selector | None) -> Step:
    """The step for events that `types` selects; others go by."""
    if types is None:
        return step
    function = step.function
    return Step(step.name, lambda event: function(event) if selects(types, event) else event, step.routes)


def _same(event: Event[Any], answer: Event[Any] | Delay) -> Event[Any]:
    if isinstance(answer, Delay):
        raise Misconfigured("it delays; only the bus of one process can do that")
    if answer.id != event.id or answer.source != event.source:
        raise Misconfigured("it changes id or source; by these a repeated event is known, so they must stay")
    return answer


def _refusal(step: Step, event: Event[Any], error: Exception) -> NervError:
    kind: Callable[..., NervError] = SchemaMismatch if isinstance(error, SchemaMismatch) else Refused
    said = error.detail if isinstance(error, NervError) else f"{type(error).__name__}: {error}"
    return kind(f"middleware {step.name}, event {event.id}: {said}", errors=getattr(error, "errors", ()))
