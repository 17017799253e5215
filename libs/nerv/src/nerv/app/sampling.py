# SPDX-License-Identifier: Apache-2.0
"""The shape of a workflow without a run: it is drawn for an input that is made up by the types of its parameters."""

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nerv.app.specs import TaskSpec, WorkflowSpec
from nerv.errors import Invalid, NotFound, TooLarge

SAMPLES: Mapping[Any, Any] = {str: "…", int: 1, float: 1.0, bool: True, dict: {}}


def drawn(spec: WorkflowSpec, tasks: Mapping[str, TaskSpec]) -> dict[str, Any]:
    """`input`, `steps` and `error`: the steps of a workflow in order, each with the steps it waits for.

    `input` is what was made up; where the function has its own defaults those are used. A workflow whose shape no made-up
    input gives has no steps, and an error that says why.
    """
    from nerv.workflows import draw  # it stands on nerv.app

    given = {
        name: sample(parameter.annotation)
        for name, parameter in _signature(spec.function, 1).items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    try:
        dag = draw(spec, tasks, given)
    except (Invalid, NotFound, TooLarge) as error:
        return {"input": given, "steps": [], "error": error.detail}
    owner = {node.name: step.name for step, nodes in dag.drawn for node in nodes}
    steps = [
        {
            "name": step.name,
            "task": step.task,
            "each": None if step.items is None else len(step.items),
            "after": list(dict.fromkeys(owner[name] for node in nodes for name in node.after)),
        }
        for step, nodes in dag.drawn
    ]
    return {"input": given, "steps": steps, "error": None}


def sample(annotation: Any) -> Any:
    """A JSON value of a type: two of whatever a list holds, so that a map is seen to be one."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return None if type(None) in inner else sample(inner[0])
    kind = origin or annotation
    if isinstance(kind, type) and issubclass(kind, Sequence) and kind not in (str, bytes):
        return [sample(inner[0]) if inner else "…"] * 2
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return {}
    return SAMPLES.get(kind, "…")


def parameters(function: Callable[..., Any], skip: int = 0) -> dict[str, str]:
    """The parameters of a function and their types, as people write them."""
    return {name: words_of(parameter.annotation) for name, parameter in _signature(function, skip).items()}


def words_of(annotation: Any) -> str:
    """A type as people write it."""
    if annotation is inspect.Parameter.empty:
        return "Any"
    if isinstance(annotation, str):
        return annotation
    if annotation is type(None):
        return "None"
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__name__
    inner = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return words_of(inner[0])
    if origin in (typing.Union, types.UnionType):
        return " | ".join(words_of(one) for one in inner)
    if inner and isinstance(origin, type):
        return f"{origin.__name__}[{', '.join(words_of(one) for one in inner if one is not ...)}]"
    return str(annotation).removeprefix("typing.")


def _signature(function: Callable[..., Any], skip: int) -> dict[str, inspect.Parameter]:
    try:
        signature = inspect.signature(function, eval_str=True)
    except NameError:  # annotations that exist only for type checkers
        signature = inspect.signature(function)
    return dict(list(signature.parameters.items())[skip:])
