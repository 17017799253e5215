# SPDX-License-Identifier: Apache-2.0
"""Draw a workflow: run its function once on a `Drawing`, which writes down what it calls and calls nothing."""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, overload

from nerv.app.specs import TaskSpec, WorkflowSpec
from nerv.errors import Invalid, NotFound, TooLarge
from nerv.types import check_id, format_instant
from nerv.workflows.dag import (
    Argument,
    Control,
    Dag,
    Fan,
    First,
    Guard,
    Item,
    Many,
    Output,
    Outputs,
    Step,
    Value,
    needed,
    node_name,
)

TASK_LIMIT = 10_000  # tasks of one workflow (rule 14)
ITEMS_LIMIT = 100_000  # of a list that is split and stands in the drawing
DEPTH_LIMIT = 32
LONGEST_SECONDS = 10 * 366 * 86_400  # of a wait: ten years
_INT_BITS = 64  # beyond, JSON readers differ

Task = Callable[..., Any] | str
After = Output | Fan | Many | Iterable[Output | Fan | Many] | None
"""What a step waits for without being given what it returns."""


class Branch:
    """A condition that a run decides. What is drawn in `with branch:` is done when it holds, what is drawn in
    `with branch.otherwise():` when it does not; the rest is skipped.
    """

    def __init__(self, guards: list[Guard], node: str) -> None:
        self._guards = guards
        self._node = node

    def __enter__(self) -> "Branch":
        self._guards.append(Guard(self._node, True))
        return self

    def __exit__(self, *error: object) -> None:
        self._guards.pop()

    @contextmanager
    def otherwise(self) -> Iterator[None]:
        """The other branch."""
        self._guards.append(Guard(self._node, False))
        try:
            yield
        finally:
            self._guards.pop()


class Drawing:
    """The `w` of a workflow's function. `input` is the run's input.

    `after=` names what a step waits for besides its arguments.
    """

    def __init__(
        self,
        tasks: Mapping[str, TaskSpec],
        run_input: Mapping[str, Any],
        limit: int = TASK_LIMIT,
        awaits: Mapping[str, str] | None = None,
    ) -> None:
        self.input = run_input
        self._tasks = tasks
        self._limit = limit
        self._awaits = awaits or {}
        self._steps: list[Step] = []
        self._names: set[str] = set()
        self._drawn: set[str] = set()
        self._guards: list[Guard] = []

    def call(self, task: Task, *arguments: Any, after: After = None) -> Output:
        """One task. Arguments are JSON values, outputs of other tasks, or lists of outputs; an output makes it wait."""
        return self._single(self._task(task), self._task(task), arguments, after)

    @overload
    def map(self, task: Task, items: Output | Many, *arguments: Any, after: After = None) -> Many: ...

    @overload
    def map(self, task: Task, items: Iterable[Any], *arguments: Any, after: After = None) -> Fan: ...

    def map(self, task: Task, items: Iterable[Any] | Output | Many, *arguments: Any, after: After = None) -> Fan | Many:
        """One task for each item, all at once; each gets its item and then `arguments`.

        Over the output of a task, which must be a list, there are as many as it has items when the run comes to it.
        """
        name = self._task(task)
        step = self._name(name)
        rest = tuple(self._argument(argument, f"argument {i} of {step}") for i, argument in enumerate(arguments, 2))
        then = self._then(after, step)
        if isinstance(items, Output | Many):
            self._argument(items, f"the list of {step}")
            self._add(Step(step, name, rest, over=items, then=then), [step])
            return Many(step)
        made = tuple(self._argument(item, f"item {i} of {step}") for i, item in enumerate(self._bounded(items)))
        self._add(Step(step, name, rest, made, then=then), [node_name(step, index) for index in range(len(made))])
        return Fan(step, len(made))

    def split(self, task: Task, items: Iterable[Any] | Output | Many, *arguments: Any, after: After = None) -> Many:
        """One task for a list, divided into as many parts as are worth it by what the task has taken an item so far.

        It is called with a part of the list and then `arguments`. Its output is the list of what the parts return: lists are
        joined, anything else is an item.
        """
        name = self._task(task)
        step = self._name(name)
        rest = tuple(self._argument(argument, f"argument {i} of {step}") for i, argument in enumerate(arguments, 2))
        given = items if isinstance(items, Output | Fan | Many) else list(islice(items, ITEMS_LIMIT + 1))
        if isinstance(given, list) and len(given) > ITEMS_LIMIT:
            raise TooLarge(f"{step} splits a list of more than {ITEMS_LIMIT} items; have a task return it")
        whole = self._argument(given, f"the list of {step}")
        if not isinstance(whole, Value | Output | Outputs | Fan | Many):
            raise Invalid(f"{step} splits what is no list")
        self._add(Step(step, name, rest, over=whole, then=self._then(after, step), split=True), [step])
        return Many(step, joined=True)

    def when(self, value: Output, *, equals: Any = True) -> Branch:
        """A condition: that a task's output is true (in the sense of Python), or with `equals` that it is this value.

        Skipped tasks return None to who is given their output; `first` passes over them.
        """
        test = () if equals is True else (plain(equals, "equals of a condition"),)
        return Branch(self._guards, self._single("when", Control.WHEN, (value, *test), None).node)

    def first(self, *outputs: Output) -> First:
        """What the first of these returned that was not skipped; None when all were. It waits for all."""
        found = First(tuple(output.node for output in outputs))
        self._argument(found, "first")
        return found

    def sleep(self, seconds: float | timedelta | Output, *, after: After = None) -> Output:
        """Wait for so many seconds, from when what it comes after has ended. It costs no worker, and survives whatever dies."""
        length = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
        if isinstance(length, int | float) and not 0 <= length <= LONGEST_SECONDS:
            raise Invalid(f"a sleep has 0 to {LONGEST_SECONDS} seconds, not {length}")
        return self._single("sleep", Control.SLEEP, (length,), after)

    def sleep_until(self, instant: datetime | Output, *, after: After = None) -> Output:
        """Wait until an instant, which has a time zone; as the output of a task it is a text (RFC 3339)."""
        if isinstance(instant, datetime) and instant.tzinfo is None:
            raise Invalid(f"sleep until {instant}: it has no time zone")
        until = format_instant(instant) if isinstance(instant, datetime) else instant
        return self._single("sleep", Control.SLEEP, (until,), after)

    def signal(self, name: str, *, within: float | None = None, after: After = None) -> Output:
        """Wait for a signal that somebody sends to the run. Its output is what was sent with it, `true` if nothing was.

        Signals of a name are taken in the order in which they came, each by one wait, also those that came before it was
        reached. After `within` seconds it waits no longer and its output is None.
        """
        check_id(name, "signal")
        return self._single(name, Control.SIGNAL, (name, _within(within)), after)

    def event(self, type: str, value: Any, *, within: float | None = None, after: After = None) -> Output:  # noqa: A002 - CloudEvents' word
        """Wait for an event of a topic: of a type that the workflow `awaits`, whose field that is named there has this value.

        Events count that were written since the run was started. Its output is the event's data; after `within` seconds None.
        """
        field = self._awaits.get(type)
        if field is None:
            known = ", ".join(sorted(self._awaits)) or "none"
            raise Invalid(
                f"the workflow does not await events of type {type!r}; it awaits {known}: @app.workflow(..., awaits=...)"
            )
        return self._single(type, Control.EVENT, (type, field, value, _within(within)), after)

    def _single(self, base: str, task: str, arguments: Iterable[Any], after: After) -> Output:
        step = self._name(base)
        made = tuple(self._argument(argument, f"argument {i} of {step}") for i, argument in enumerate(arguments, 1))
        self._add(Step(step, task, made, then=self._then(after, step)), [step])
        return Output(step)

    def _then(self, after: After, step: str) -> tuple[str, ...]:
        if after is None:
            return ()
        several = [after] if isinstance(after, Output | Fan | Many) else list(after)
        for one in several:
            if not isinstance(one, Output | Fan | Many):
                raise Invalid(f"{step} comes after {str(one)[:80]!r}, which is no output of a task")
            self._argument(one, f"after of {step}")
        return tuple(dict.fromkeys(name for one in several for name in needed(one)))

    def finished(self, returned: Any) -> Dag:
        """The DAG, once the function has returned."""
        return Dag(tuple(self._steps), self._argument(returned, "the workflow's result"))

    def _bounded(self, items: Iterable[Any]) -> Iterable[Any]:
        # Checked while they come, so that an endless iterable ends too.
        for count, item in enumerate(items, len(self._drawn) + 1):
            if count > self._limit:
                raise self._too_many()
            yield item

    def _too_many(self) -> TooLarge:
        return TooLarge(f"the workflow has more than {self._limit} tasks; let each do more")

    def _task(self, task: Task) -> str:
        if isinstance(task, str):
            if task in self._tasks:
                return task
            raise NotFound(f"there is no task {task!r}; there are {', '.join(sorted(self._tasks)) or 'none'}")
        for name, spec in self._tasks.items():
            if spec.function is task:
                return name
        raise NotFound(f"{getattr(task, '__name__', task)!r} is not a task of the app; declare it with @app.task()")

    def _name(self, task: str) -> str:
        """`join`, then `join#2`, `join#3`: the same drawing gives the same names."""
        name, count = task, 1
        while name in self._names:
            count += 1
            name = f"{task}#{count}"
        return name

    def _add(self, step: Step, nodes: list[str]) -> None:
        if len(self._drawn) + len(nodes) > self._limit:
            raise self._too_many()
        for name in nodes:
            check_id(name, "node name")
            if name in self._drawn:
                raise Invalid(f"two tasks would be called {name}; rename task {step.task}")
        self._names.add(step.name)
        self._drawn.update(nodes)
        spec = self._tasks.get(step.task)
        priority = None if spec is None else spec.priority
        self._steps.append(replace(step, guards=tuple(self._guards), priority=priority))

    def _argument(self, value: Any, where: str) -> Argument:
        if isinstance(value, Output | First | Many):
            for name in needed(value):
                self._known(name, where)
            return value
        if isinstance(value, Fan):
            for output in (value[:1] + value[-1:]) if value.size else []:
                self._known(output.node, where)
            return value
        if isinstance(value, list | tuple) and value and all(isinstance(part, Output) for part in value):
            for part in value:
                self._known(part.node, where)
            return Outputs(tuple(part.node for part in value))
        return Value(plain(value, where))

    def _known(self, node: str, where: str) -> None:
        if node not in self._drawn:
            raise Invalid(f"{where} is given the output of {node}, which this drawing does not have")


def _within(seconds: float | None) -> float | None:
    if seconds is not None and not 0 < seconds <= LONGEST_SECONDS:
        raise Invalid(f"a wait ends within 0 to {LONGEST_SECONDS} seconds, not {seconds}")
    return seconds


def draw(
    spec: WorkflowSpec, tasks: Mapping[str, TaskSpec], run_input: Mapping[str, Any], limit: int = TASK_LIMIT
) -> Dag:
    """The DAG of a workflow for an input; parameters of the function after the first take the input's fields.

    Raises Invalid for an input that does not fit or a drawing that is wrong, NotFound for a task that is not declared,
    TooLarge over the limit.
    """
    checked = plain(run_input, "the input")
    drawing = Drawing(tasks, checked, limit, spec.awaits)
    arguments = _bound(spec, checked)
    try:
        returned = spec.function(drawing, **arguments)
    except (Invalid, NotFound, TooLarge):
        raise
    except Exception as error:  # the team's code; what it raises is the team's to choose
        raise Invalid(f"workflow {spec.name} cannot be drawn: {type(error).__name__}: {error}") from error
    dag = drawing.finished(returned)
    dag.check()
    return dag


def _bound(spec: WorkflowSpec, run_input: Mapping[str, Any]) -> Mapping[str, Any]:
    """The input's fields by the names of the function's parameters; a function that takes only `w` reads `w.input`."""
    parameters = list(inspect.signature(spec.function).parameters.values())[1:]
    if not parameters:
        return {}
    names = {parameter.name for parameter in parameters}
    needed = {parameter.name for parameter in parameters if parameter.default is inspect.Parameter.empty}
    unknown, missing = sorted(set(run_input) - names), sorted(needed - set(run_input))
    if unknown or missing:
        says = [f"lacks {name}" for name in missing] + [f"has {name}, which is not a parameter" for name in unknown]
        raise Invalid(f"the input of workflow {spec.name} {'; '.join(says)}; it takes {', '.join(sorted(names))}")
    return dict(run_input)


def plain(value: Any, where: str, depth: int = 0) -> Any:
    """A copy that is JSON and nothing else (tuples become lists). Raises Invalid, saying where; TooLarge when too deep."""
    if depth > DEPTH_LIMIT:
        raise TooLarge(f"{where} is nested deeper than {DEPTH_LIMIT} levels")
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int) and value.bit_length() < _INT_BITS:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: plain(part, where, depth + 1) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part, where, depth + 1) for part in value]
    if isinstance(value, Output | Outputs | Fan | Many | First | Item):
        raise Invalid(f"{where} holds the output of a task inside other data; give it as an argument of its own")
    raise Invalid(f"{where} holds {str(value)[:80]!r} ({type(value).__name__}), which is not JSON")
