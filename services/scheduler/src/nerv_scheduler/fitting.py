# SPDX-License-Identifier: Apache-2.0
"""Whether the calls that a workflow draws fit the tasks they name: looked at before the run is recorded.

Values are held against annotations as JSON, strictly; outputs of other tasks are not known yet. An annotation that pydantic
does not know says nothing.
"""

import functools
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from nerv.errors import Invalid
from nerv.workflows import Dag, Node, Step, Value, control_of
from nerv_scheduler.invoke import Callee


def check_calls(dag: Dag, callees: Mapping[str, Callee]) -> None:
    """Raises Invalid for a call that has too few or too many arguments, or a value of another type, and names its node."""
    for step, nodes in dag.drawn:
        if control_of(step.task) is not None:
            continue
        callee = callees[step.task]
        names = _parameters(step, callee)
        for node in nodes:
            if control_of(node.task) is None:
                _check_values(node, names, callee)


def _parameters(step: Step, callee: Callee) -> list[str]:
    """The parameter that each argument of a step is for. Raises Invalid."""
    count = len(step.arguments) + (step.items is not None or step.over is not None)
    try:
        bound = callee.offered.bind(*range(count))
    except TypeError as error:
        raise Invalid(f"step {step.name} cannot call {step.task}{callee.offered}: {error}") from None
    return [name for name, at in bound.arguments.items() for _ in (at if isinstance(at, tuple) else (at,))]


def _check_values(node: Node, names: list[str], callee: Callee) -> None:
    for name, argument in zip(names, node.arguments, strict=True):
        adapter = _adapter(callee.hints.get(name, Any))
        if adapter is None or not isinstance(argument, Value):
            continue
        try:
            adapter.validate_json(orjson.dumps(argument.json), strict=True)
        except ValidationError as error:
            raise Invalid(f"{node.name}: argument {name} of task {node.task}: {'; '.join(_says(error))}") from None


def _says(error: ValidationError) -> Iterator[str]:
    for found in error.errors(include_url=False, include_input=False)[:3]:
        place = ".".join(map(str, found["loc"]))
        yield f"{place}: {found['msg']}" if place else found["msg"]


@functools.lru_cache(maxsize=1000)
def _adapter(hint: Any) -> TypeAdapter[Any] | None:
    if hint in (Any, inspect.Parameter.empty):
        return None
    try:
        return TypeAdapter(hint)
    except PydanticUserError:
        return None
