# SPDX-License-Identifier: Apache-2.0
"""A DAG of tasks as plain data, and as JSON. A step may only name steps before it, so that there can be no cycle.

What a node does is a task of the app, by its name, or one of the mesh's own (`CONTROLS`): their names begin with a colon.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from functools import cached_property
from typing import Any, Final, overload

from nerv.errors import Invalid
from nerv.protocols.queue import Priority


class Control(StrEnum):
    """What the mesh itself does at a node."""

    MAP = ":map"  # expand a map over a list that another node returns
    SPLIT = ":split"  # divide a list into parts, as many as are worth it
    WHEN = ":when"  # decide which branch is taken
    SLEEP = ":sleep"
    SIGNAL = ":signal"
    EVENT = ":event"

    @property
    def waits(self) -> bool:
        """Whether its node waits for something that comes from outside the run."""
        return self in (Control.SLEEP, Control.SIGNAL, Control.EVENT)


class Skipped(Enum):
    """What a node of a branch that was not taken returns. A task that is given it gets None."""

    SKIPPED = "skipped"


SKIPPED: Final = Skipped.SKIPPED


def control_of(task: str) -> Control | None:
    """The control that a node's task is; None for a task of the app."""
    return Control(task) if task.startswith(":") else None


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


@dataclass(frozen=True, slots=True)
class Many:
    """An argument that is a list of what all nodes of a map over a run-time list return; how many, is known when it has run.

    `joined`: they are parts of a list. What returns a list is joined to the others, anything else is an item.
    """

    step: str
    count: int | None = None
    joined: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """An argument that is one item of a list that other nodes return."""

    of: "Whole"
    index: int


@dataclass(frozen=True, slots=True)
class Part:
    """An argument that is one of so many parts of a list, which differ by one item at most."""

    of: "Whole"
    index: int
    count: int


@dataclass(frozen=True, slots=True)
class First:
    """An argument that is what the first of some nodes returns that was not skipped; None when all were."""

    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Guard:
    """A step's condition: the node `when` must have decided for `taken`."""

    when: str
    taken: bool


Whole = Value | Output | Outputs | Fan | Many
"""What a list may come from."""

Argument = Whole | Item | Part | First


def node_name(step: str, index: int) -> str:
    """The name of one node of a `map`."""
    return f"{step}[{index}]"


def needed(argument: Argument) -> Iterator[str]:
    """The nodes that an argument waits for."""
    if isinstance(argument, Output):
        yield argument.node
    elif isinstance(argument, Outputs | First):
        yield from argument.nodes
    elif isinstance(argument, Fan):
        yield from (node_name(argument.step, i) for i in range(argument.size))
    elif isinstance(argument, Many):
        yield argument.step
        yield from (node_name(argument.step, i) for i in range(argument.count or 0))
    elif isinstance(argument, Item | Part):
        yield from needed(argument.of)


@dataclass(frozen=True, slots=True)
class Node:
    """One task of a run, by its registered name. `then` are nodes it waits for without being given what they return.

    Without a `priority` it has that of its run.
    """

    name: str
    task: str
    arguments: tuple[Argument, ...]
    then: tuple[str, ...] = ()
    guards: tuple[Guard, ...] = ()
    priority: Priority | None = None

    @property
    def after(self) -> tuple[str, ...]:
        """The nodes it waits for, each once."""
        given = [name for argument in self.arguments if type(argument) is not Value for name in needed(argument)]
        if not (given or self.then or self.guards):
            return ()  # as of most nodes of a map
        return tuple(dict.fromkeys([*given, *self.then, *(guard.when for guard in self.guards)]))


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a drawing. With `items` it is a map: one node an item, which comes before `arguments`.

    With `over` it is a map over a list that is known when the run comes to it: a node of the step's own name expands it,
    and `count` is how many items it found; None before. With `split` there is one node for each of `count` parts of that list.
    """

    name: str
    task: str
    arguments: tuple[Argument, ...] = ()
    items: tuple[Argument, ...] | None = None
    over: Whole | None = None
    count: int | None = None
    then: tuple[str, ...] = ()
    guards: tuple[Guard, ...] = ()
    priority: Priority | None = None
    split: bool = False

    def nodes(self) -> Iterator[Node]:
        """The nodes that the step stands for."""
        if self.over is not None:
            yield Node(self.name, Control.SPLIT if self.split else Control.MAP, (self.over,), self.then, self.guards)
            count = self.count or 0
            for index in range(count):
                one = part_of(self.over, index, count) if self.split else Item(self.over, index)
                arguments = (one, *self.arguments)
                yield Node(node_name(self.name, index), self.task, arguments, (self.name,), priority=self.priority)
        elif self.items is None:
            yield Node(self.name, self.task, self.arguments, self.then, self.guards, self.priority)
        else:
            for index, item in enumerate(self.items):
                name, arguments = node_name(self.name, index), (item, *self.arguments)
                yield Node(name, self.task, arguments, self.then, self.guards, self.priority)


@dataclass(frozen=True)
class Dag:
    """The tasks of a workflow, each after those it needs; `result` is what the run returns."""

    steps: tuple[Step, ...] = ()
    result: Argument = field(default=Value(None))

    @cached_property
    def drawn(self) -> Sequence[tuple[Step, Sequence[Node]]]:
        """Each step, and the nodes that it stands for; made once, for a map may have thousands."""
        return [(step, list(step.nodes())) for step in self.steps]

    @cached_property
    def nodes(self) -> Mapping[str, Node]:
        """Every node by its name, in order of drawing."""
        counts = {step.name: step.count or 0 for step in self.steps if step.over is not None}
        found: dict[str, Node] = {}
        for step, nodes in self.drawn:
            then = tuple(_whole(step.then, counts))
            found |= {node.name: node for node in (nodes if then == step.then else replace(step, then=then).nodes())}
        return found

    def expanded(self, counts: Mapping[str, int | None]) -> "Dag":
        """With maps of so many items; None takes a map's items away again."""
        steps = [replace(s, count=counts[s.name]) if s.name in counts else s for s in self.steps]
        found = {step.name: step.count for step in steps if step.over is not None}
        return Dag(tuple(_counted_step(step, found) for step in steps), _counted(self.result, found))

    def step_of(self, node: str) -> Step:
        """The step of a control node, which bears its name."""
        return next(step for step in self.steps if step.name == node)

    def encode(self) -> dict[str, Any]:
        """As JSON; `decode` takes it."""
        return {"steps": [encode_step(step) for step in self.steps], "result": encode_argument(self.result)}

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
        for step, nodes in self.drawn:
            names: set[str] = set()
            for node in nodes:
                missing = [name for name in node.after if name not in drawn]
                if missing:
                    raise Invalid(f"{node.name} waits for {missing[0]}, which is not drawn before it")
                names.add(node.name)
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
    if isinstance(argument, First):
        return {"first": list(argument.nodes)}
    if isinstance(argument, Item):
        return {"item": argument.index, "of": encode_argument(argument.of)}
    if isinstance(argument, Part):
        return {"part": argument.index, "parts": argument.count, "of": encode_argument(argument.of)}
    if isinstance(argument, Many):
        return {"many": argument.step, "count": argument.count} | ({"joined": True} if argument.joined else {})
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
    if "many" in document:
        return Many(document["many"], document["count"], document.get("joined", False))
    if "first" in document:
        return First(tuple(document["first"]))
    if "item" in document:
        return Item(_list_of(document["of"]), int(document["item"]))
    if "part" in document:
        return Part(_list_of(document["of"]), int(document["part"]), int(document["parts"]))
    raise ValueError(f"an argument has value, node, nodes, each, many, first, item or part, not {', '.join(document)}")


def arguments_of(documents: Sequence[Mapping[str, Any]]) -> tuple[Argument, ...]:
    """The arguments of a node, as a task's message carries them."""
    return tuple(decode_argument(document) for document in documents)


def resolve(argument: Argument, output: Callable[[str], Any]) -> Any:
    """The value of an argument, by what the nodes it names returned; of what was skipped, None."""
    if isinstance(argument, Value):
        return argument.json
    if isinstance(argument, Output):
        return _or_none(output(argument.node))
    if isinstance(argument, First):
        return next((found for name in argument.nodes if (found := output(name)) is not SKIPPED), None)
    if isinstance(argument, Item):
        return resolve(argument.of, output)[argument.index]
    if isinstance(argument, Part):
        return _part(resolve(argument.of, output), argument)
    if isinstance(argument, Many):
        found = [_or_none(output(node_name(argument.step, index))) for index in range(argument.count or 0)]
        return _joined(found) if argument.joined else found
    return [_or_none(output(name)) for name in needed(argument)]


def filled(argument: Argument, output: Callable[[str], Any]) -> Argument:
    """The argument with the sizes of the maps it takes, which are what their own nodes returned."""
    if isinstance(argument, Many) and argument.count is None:
        found = output(argument.step)
        return replace(argument, count=0 if found is SKIPPED else found)
    return argument


def part_of(whole: Whole, index: int, count: int) -> Part:
    """One of so many parts of a list; of one that is known it holds no more than that."""
    part = Part(whole, index, count)
    return Part(Value(_part(whole.json, part)), 0, 1) if isinstance(whole, Value) else part


def _part(items: Sequence[Any], part: Part) -> Sequence[Any]:
    count = len(items)
    return items[part.index * count // part.count : (part.index + 1) * count // part.count]


def _joined(parts: Sequence[Any]) -> list[Any]:
    return [item for part in parts for item in (part if isinstance(part, list) else [part])]


def _or_none(value: Any) -> Any:
    return None if value is SKIPPED else value


def _counted(argument: Argument, counts: Mapping[str, int | None]) -> Argument:
    if isinstance(argument, Many):
        return replace(argument, count=counts[argument.step])
    return argument


def _counted_step(step: Step, counts: Mapping[str, int | None]) -> Step:
    arguments = tuple(_counted(argument, counts) for argument in step.arguments)
    over = replace(step.over, count=counts[step.over.step]) if isinstance(step.over, Many) else step.over
    return step if (arguments, over) == (step.arguments, step.over) else replace(step, arguments=arguments, over=over)


def _whole(names: Sequence[str], counts: Mapping[str, int]) -> Iterator[str]:
    """The names, and behind that of a map over a run-time list those of its items, as far as they are known."""
    for name in names:
        yield name
        yield from (node_name(name, index) for index in range(counts.get(name, 0)))


def _list_of(document: Mapping[str, Any]) -> Whole:
    found = decode_argument(document)
    if isinstance(found, Value | Output | Outputs | Fan | Many):
        return found
    raise ValueError("a map goes over what other nodes return")


def encode_step(step: Step) -> dict[str, Any]:
    """A step as JSON."""
    document: dict[str, Any] = {"name": step.name, "task": step.task}
    if step.arguments:
        document["arguments"] = [encode_argument(argument) for argument in step.arguments]
    if step.over is not None:
        document["over"] = encode_argument(step.over)
    if step.split:
        document["split"] = True
    if step.priority is not None:
        document["priority"] = step.priority.value
    if step.then:
        document["then"] = list(step.then)
    if step.guards:
        document["when"] = [[guard.when, guard.taken] for guard in step.guards]
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
    return Step(
        document["name"],
        document["task"],
        arguments_of(document.get("arguments", ())),
        items,
        _list_of(document["over"]) if "over" in document else None,
        then=tuple(document.get("then", ())),
        guards=tuple(Guard(when, taken) for when, taken in document.get("when", ())),
        priority=Priority(document["priority"]) if "priority" in document else None,
        split=document.get("split", False),
    )
