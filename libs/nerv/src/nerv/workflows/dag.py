# SPDX-License-Identifier: Apache-2.0
"""A DAG of tasks as plain data, and as JSON. A step may only name steps before it, so that there can be no cycle."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, overload

from nerv.errors import Invalid


@dataclass(frozen=True, slots=True)
class Value:
    """An argument that is known when the DAG is drawn: a JSON value."""

    json: Any


@dataclass(frozen=True, slots=True)
class Output:
    """An argument that is what another node returns."""

    node: str


@dataclass(frozen=True, slots=True)
class Outputs:
    """An argument that is a list of what some nodes return."""

    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fan(Sequence[Output]):
    """What all nodes of a `map` return, in order; an argument that is given whole, taken apart or sliced."""

    step: str
    size: int

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, index: int) -> Output: ...

    @overload
    def __getitem__(self, index: slice) -> list[Output]: ...

    def __getitem__(self, index: int | slice) -> Output | list[Output]:
        found = range(self.size)[index]
        if isinstance(found, int):
            return Output(node_name(self.step, found))
        return [Output(node_name(self.step, i)) for i in found]


Argument = Value | Output | Outputs | Fan


def node_name(step: str, index: int) -> str:
    """The name of one node of a `map`."""
    return f"{step}[{index}]"


def needed(argument: Argument) -> Iterator[str]:
    """The nodes that an argument waits for."""
    if isinstance(argument, Output):
        yield argument.node
    elif isinstance(argument, Outputs):
        yield from argument.nodes
    elif isinstance(argument, Fan):
        yield from (node_name(argument.step, i) for i in range(argument.size))


@dataclass(frozen=True, slots=True)
class Node:
    """One task of a run, by its registered name."""

    name: str
    task: str
    arguments: tuple[Argument, ...]

    @property
    def after(self) -> tuple[str, ...]:
        """The nodes it waits for, each once."""
        return tuple(dict.fromkeys(name for argument in self.arguments for name in needed(argument)))


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a drawing. With `items` it is a map: one node an item, which comes before `arguments`."""

    name: str
    task: str
    arguments: tuple[Argument, ...] = ()
    items: tuple[Argument, ...] | None = None

    def nodes(self) -> Iterator[Node]:
        """The nodes that the step stands for."""
        if self.items is None:
            yield Node(self.name, self.task, self.arguments)
            return
        for index, item in enumerate(self.items):
            yield Node(node_name(self.name, index), self.task, (item, *self.arguments))


@dataclass(frozen=True)
class Dag:
    """The tasks of a workflow, each after those it needs; `result` is what the run returns."""

    steps: tuple[Step, ...] = ()
    result: Argument = field(default=Value(None))

    @cached_property
    def nodes(self) -> Mapping[str, Node]:
        """Every node by its name, in order of drawing."""
        return {node.name: node for step in self.steps for node in step.nodes()}

    def encode(self) -> dict[str, Any]:
        """As JSON; `decode` takes it."""
        return {"steps": [_encode_step(step) for step in self.steps], "result": encode_argument(self.result)}

    @classmethod
    def decode(cls, document: Any) -> "Dag":
        """The DAG of a document. Raises Invalid for one that `encode` cannot have made: a cycle, a name that is not there."""
        try:
            dag = cls(tuple(_decode_step(step) for step in document["steps"]), decode_argument(document["result"]))
        except (KeyError, TypeError, ValueError) as error:
            raise Invalid(f"this is not a drawn workflow: {error!r}") from None
        dag.check()
        return dag

    def check(self) -> None:
        """Raises Invalid when a name is used twice, or a node waits for one that is not drawn before it."""
        drawn: set[str] = set()
        for step in self.steps:
            for node in step.nodes():
                missing = [name for name in node.after if name not in drawn]
                if missing:
                    raise Invalid(f"{node.name} waits for {missing[0]}, which is not drawn before it")
            names = {node.name for node in step.nodes()}
            if names & drawn:
                raise Invalid(f"the name {step.name} is used twice")
            drawn |= names
        missing = [name for name in needed(self.result) if name not in drawn]
        if missing:
            raise Invalid(f"the workflow returns {missing[0]}, which is not drawn")


def encode_argument(argument: Argument) -> dict[str, Any]:
    """An argument as JSON."""
    if isinstance(argument, Value):
        return {"value": argument.json}
    if isinstance(argument, Output):
        return {"node": argument.node}
    if isinstance(argument, Outputs):
        return {"nodes": list(argument.nodes)}
    return {"each": argument.step, "count": argument.size}


def decode_argument(document: Mapping[str, Any]) -> Argument:
    """The argument of a document. Raises ValueError."""
    if "value" in document:
        return Value(document["value"])
    if "node" in document:
        return Output(document["node"])
    if "nodes" in document:
        return Outputs(tuple(document["nodes"]))
    if "each" in document:
        return Fan(document["each"], int(document["count"]))
    raise ValueError(f"an argument has value, node, nodes or each, not {', '.join(document)}")


def arguments_of(documents: Sequence[Mapping[str, Any]]) -> tuple[Argument, ...]:
    """The arguments of a node, as a task's message carries them."""
    return tuple(decode_argument(document) for document in documents)


def resolve(argument: Argument, output: Callable[[str], Any]) -> Any:
    """The value of an argument, by what the nodes it names returned."""
    if isinstance(argument, Value):
        return argument.json
    if isinstance(argument, Output):
        return output(argument.node)
    return [output(name) for name in needed(argument)]


def _encode_step(step: Step) -> dict[str, Any]:
    document: dict[str, Any] = {"name": step.name, "task": step.task}
    if step.arguments:
        document["arguments"] = [encode_argument(argument) for argument in step.arguments]
    if step.items is not None:
        values = [item.json for item in step.items if isinstance(item, Value)]
        # Most maps go over plain values; written without a wrapper each, ten thousand of them fit into one event.
        if len(values) == len(step.items):
            document["values"] = values
        else:
            document["items"] = [encode_argument(item) for item in step.items]
    return document


def _decode_step(document: Mapping[str, Any]) -> Step:
    items: tuple[Argument, ...] | None = None
    if "values" in document:
        items = tuple(Value(value) for value in document["values"])
    elif "items" in document:
        items = arguments_of(document["items"])
    return Step(document["name"], document["task"], arguments_of(document.get("arguments", ())), items)
