# SPDX-License-Identifier: Apache-2.0
"""Draw a workflow: run its function once on a `Drawing`, which writes down what it calls and calls nothing."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from nerv.app.specs import TaskSpec, WorkflowSpec
from nerv.errors import Invalid, NotFound, TooLarge
from nerv.types import check_id
from nerv.workflows.dag import Argument, Dag, Fan, Output, Outputs, Step, Value, node_name

TASK_LIMIT = 10_000  # tasks of one workflow (rule 14)
DEPTH_LIMIT = 32
_INT_BITS = 64  # beyond, JSON readers differ

Task = Callable[..., Any] | str


class Drawing:
    """The `w` of a workflow's function. `input` is the run's input."""

    def __init__(self, tasks: Mapping[str, TaskSpec], run_input: Mapping[str, Any], limit: int = TASK_LIMIT) -> None:
        self.input = run_input
        self._tasks = tasks
        self._limit = limit
        self._steps: list[Step] = []
        self._names: set[str] = set()
        self._drawn: set[str] = set()

    def call(self, task: Task, *arguments: Any) -> Output:
        """One task. Arguments are JSON values, outputs of other tasks, or lists of outputs; an output makes it wait."""
        name = self._task(task)
        step = self._name(name)
        made = tuple(self._argument(argument, f"argument {i} of {step}") for i, argument in enumerate(arguments, 1))
        self._add(Step(step, name, made), [step])
        return Output(step)

    def map(self, task: Task, items: Iterable[Any], *arguments: Any) -> Fan:
        """One task for each item, all at once; each gets its item and then `arguments`."""
        name = self._task(task)
        step = self._name(name)
        made = tuple(self._argument(item, f"item {i} of {step}") for i, item in enumerate(self._bounded(items)))
        rest = tuple(self._argument(argument, f"argument {i} of {step}") for i, argument in enumerate(arguments, 2))
        self._add(Step(step, name, rest, made), [node_name(step, index) for index in range(len(made))])
        return Fan(step, len(made))

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
        self._steps.append(step)

    def _argument(self, value: Any, where: str) -> Argument:
        if isinstance(value, Output):
            self._known(value.node, where)
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


def draw(
    spec: WorkflowSpec, tasks: Mapping[str, TaskSpec], run_input: Mapping[str, Any], limit: int = TASK_LIMIT
) -> Dag:
    """The DAG of a workflow for an input; parameters of the function after the first take the input's fields.

    Raises Invalid for an input that does not fit or a drawing that is wrong, NotFound for a task that is not declared,
    TooLarge over the limit.
    """
    checked = plain(run_input, "the input")
    drawing = Drawing(tasks, checked, limit)
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
    if isinstance(value, Output | Outputs | Fan):
        raise Invalid(f"{where} holds the output of a task inside other data; give it as an argument of its own")
    raise Invalid(f"{where} holds {str(value)[:80]!r} ({type(value).__name__}), which is not JSON")
