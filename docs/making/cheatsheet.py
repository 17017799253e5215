# SPDX-License-Identifier: Apache-2.0
"""docs/cheatsheet.md: every public name with what it is, from the registry of names (`__all__`), docstrings and examples.py."""

import enum
import importlib
import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, NewType, TypeVar

import nerv
from nerv import errors
from nerv.app import App

EXAMPLES = Path(__file__).with_name("examples.py")
LONGEST = 100  # characters of an example that stands in a table
MANY = 8  # parameters, members and methods that are shown


class Section(NamedTuple):
    """A room of the library under the heading of what it is for."""

    room: str
    title: str
    page: str


class Pattern(NamedTuple):
    """A pattern of the design, the name that stands for it, and the page that explains it."""

    name: str
    of: str
    page: str


@dataclass(frozen=True)
class Line:
    """A public name: how it is written, and what it is."""

    key: str  # `room.Name`
    written: str
    told: str


PATTERNS = (
    Pattern("reactive event mesh", "bus.EventBus", "components/bus.md"),
    Pattern("temporal versioning", "history.TemporalStore", "components/history.md"),
    Pattern("state projection", "app.projection", "components/projections.md"),
    Pattern("perspective shifting", "perspectives.Perspective", "components/perspectives.md"),
    Pattern("effect system", "effects.EffectMonad", "components/effects.md"),
    Pattern("rules", "app.decider", "components/deciders.md"),
    Pattern("quantum partitioning", "partition.Partition", "components/partition.md"),
    Pattern("aspect orientation", "aspects.Aspect", "components/aspects.md"),
    Pattern("dependency inversion", "di.Container", "components/container.md"),
    Pattern("state synchronization", "sync.DiffSynchronizer", "components/sync.md"),
)
SECTIONS = (
    Section("types", "Types", "components/types.md"),
    Section("protocols", "Protocols and what they speak in", "components/README.md#six-words"),
    Section("effects", "Effects", "components/effects.md"),
    Section("bus", "Bus", "components/bus.md"),
    Section("state", "State", "components/state.md"),
    Section("history", "History", "components/history.md"),
    Section("deciders", "Rules", "components/deciders.md"),
    Section("projections", "Projections", "components/projections.md"),
    Section("perspectives", "Perspectives", "components/perspectives.md"),
    Section("workflows", "Workflows", "../services/scheduler/README.md"),
    Section("sync", "Synchronization", "components/sync.md"),
    Section("partition", "Work in small units", "components/partition.md"),
    Section("di", "Components", "components/container.md"),
    Section("aspects", "Aspects", "components/aspects.md"),
    Section("schemas", "Schemas", "components/schemas.md"),
    Section("subscriptions", "Books of a subscription", "components/subscriptions.md"),
    Section("client", "Client", "first-steps.md"),
)
# The systems that are made of patterns, and the page that shows each.
SYSTEMS = {
    "event-driven": ("reactive event mesh", "effect system", "temporal versioning", "aspect orientation"),
    "parallel-workflows": ("quantum partitioning", "reactive event mesh", "state projection", "dependency inversion"),
    "adaptive-state": ("temporal versioning", "perspective shifting", "state projection", "state synchronization"),
}
# Names that `__all__` of their room does not have, as they come from one of its modules.
BESIDE = {
    "history": {"TemporalStore": "nerv.history.store"},
    "sync": {"DiffSynchronizer": "nerv.sync.synchronizer"},
}
# What has no docstring of its own: new types, unions, constants.
NOTES = {
    "types.EntityId": "The name of an entity: what a stream or a view is of.",
    "types.EventId": "The id of an event, chosen by whoever makes it.",
    "types.ResourceId": "The name of a resource that a container starts and stops.",
    "types.VersionId": "The version of a stream: how many events it has.",
    "types.ANYONE": "The principal of a mesh without authentication.",
    "protocols.AppendOutcome": "`Appended`, or the error that refused the request.",
    "bus.Handler": "What is told of an event: a function, plain or async.",
    "bus.Selector": "Which events: a type, a pattern such as `flight.*`, or a predicate.",
    "effects.MeshEffect": "An effect that the mesh itself performs.",
    "state.Map": "A persistent map: changed copies share what did not change.",
    "state.MISSING": "What stands at a path where nothing stands.",
    "state.Path": "The keys and indexes that lead to a place in a state.",
    "projections.MAX_KEYS": "Keys that one event may have in a projection.",
    "projections.MERGED": "The one key of a merged projection.",
    "projections.Indexes": "The indexes of a view by name.",
    "workflows.SKIPPED": "The result of a step whose condition did not hold.",
    "workflows.TASK_LIMIT": "Nodes of a workflow.",
    "workflows.Argument": "What a step is called with.",
    "workflows.Output": "What stands for the result of a step while a workflow is drawn.",
    "workflows.Outputs": "One or several of them.",
    "di.HealthCheck": "What says whether a component is well.",
    "di.Key": "What a component is asked for by: a type, or a name.",
    "aspects.Selector": "Which functions: a pattern of names, or a predicate.",
    "aspects.Steps": "What `around` of an aspect is: a generator.",
    "subscriptions.CATEGORY": "The category of the streams that hold the books.",
}
# Of App: what it is asked, and not declared by.
ASKED = frozenset(
    [
        *(
            "has_container",
            "keeps_invalid",
            "chain",
            "weaver",
            "snapshot_policy",
            "type_of",
            "perspectives_of",
            "folded",
        ),
        *("bare_type", "knows", "latest", "upcast", "as_json", "decode", "all_topics", "describe"),
    ]
)


def cheatsheet() -> str:
    """The whole page."""
    parts = [_head(), _patterns(), _declarations(), *map(_section, SECTIONS), _errors()]
    return "\n".join(parts)


def _head() -> str:
    return (
        "# Cheatsheet\n\n"
        "Every type and pattern in a line, made from the code by `make docs`; a test compares. The examples are one program,\n"
        "[making/examples.py](making/examples.py), which a test runs. In `nerv` itself are `App`, `Event`, `Perspective`,\n"
        "`Client`, `append`, `publish`, `run`, `http`, `refuse`, `Index` and `Window`; all else is in the room of its section.\n"
    )


def _patterns() -> str:
    rows = [f"| [{name}]({page}) | `{of}` | {_first(_documented(of))} |" for name, of, page in PATTERNS]
    return _table("Patterns", "| pattern | stands in | |", rows, [of for _, of, _ in PATTERNS], f"{_systems()}\n")


def _systems() -> str:
    """Which patterns make which system, as a diagram."""
    names = list(dict.fromkeys(name for made in SYSTEMS.values() for name in made))
    lines = [f'{_id(system)}(["{system.replace("-", " ")}"])' for system in SYSTEMS]
    lines += [f'{_id(name)}["{name}"]' for name in names]
    lines += [f"{_id(system)} --> {_id(name)}" for system, made in SYSTEMS.items() for name in made]
    drawn = "".join(f"    {line}\n" for line in lines)
    pages = ", ".join(f"[{system.replace('-', ' ')}]({system}.md)" for system in SYSTEMS)
    return f"Three systems are made of them, each on a page that is a test: {pages}.\n\n```mermaid\nflowchart LR\n{drawn}```\n"


def _id(name: str) -> str:
    return re.sub(r"\W", "_", name)


def _declarations() -> str:
    members = [(name, value) for name, value in vars(App).items() if not name.startswith("_") and name not in ASKED]
    lines = [
        _line("app.App", "App", App),
        *(_line(f"app.{name}", f"app.{name}", value) for name, value in members),
        *(_line(f"app.{name}", name, getattr(nerv, name)) for name in ("Index", "Window")),
    ]
    return _lines("An app declares", "", lines)


def _section(section: Section) -> str:
    module = importlib.import_module(f"nerv.{section.room}")
    found = {name: getattr(module, name) for name in module.__all__} | {
        name: getattr(importlib.import_module(home), name) for name, home in BESIDE.get(section.room, {}).items()
    }
    lines = [_line(f"{section.room}.{name}", name, value) for name, value in found.items()]
    return _lines(f"{section.title}", f"`nerv.{section.room}`: {_first(module)} [More]({section.page}).\n\n", lines)


def _errors() -> str:
    rows = [f"| `{name}` | {error.status or ''} | {_first(error)} |" for name, error in _error_tree(errors)]
    return (
        "## Errors\n`nerv.errors`: the class says whether to repeat, and how.\n\n| error | HTTP | |\n| --- | --- | --- |\n"
        + _joined(rows)
    )


def _error_tree(module: ModuleType) -> Iterable[tuple[str, Any]]:
    return [
        (name, value)
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, errors.NervError)
    ]


def _lines(title: str, intro: str, lines: list[Line]) -> str:
    shown = examples()
    rows = [f"| `{_cell(line.written)}` | {line.told} | {_inline(shown.get(line.key, ''))} |" for line in lines]
    return _table(title, "| name | | example |", rows, [line.key for line in lines], intro)


def _table(title: str, head: str, rows: list[str], keys: list[str], intro: str = "") -> str:
    shown = examples()
    blocks = [shown[key] for key in keys if key in shown and not _inline(shown[key])]
    below = _joined([f"\n```python\n{block}```" for block in blocks])
    return f"## {title}\n{intro}{head}\n| --- | --- | --- |\n{_joined(rows)}{below}"


def _joined(rows: list[str]) -> str:
    return "".join(f"{row}\n" for row in rows)


def _inline(example: str) -> str:
    code = example.strip()
    return f"`{_cell(code)}`" if code and "\n" not in code and len(code) <= LONGEST else ""


def _cell(code: str) -> str:
    return code.replace("|", "\\|")


def _line(key: str, name: str, value: Any) -> Line:
    return Line(key, _written(name, value), _cell(NOTES.get(key) or _first(value)))


def _written(name: str, value: Any) -> str:
    """How a name is used: with its parameters, members or methods."""
    if isinstance(value, enum.EnumMeta):
        return f"{name}: {_few(value.__members__)}"
    if getattr(value, "_is_protocol", False):
        return f"{name}: {_few(member for member in vars(value) if not member.startswith('_'))}"
    if isinstance(value, property | TypeVar | NewType) or not (inspect.isclass(value) or inspect.isfunction(value)):
        return name
    return f"{name}({_few(_parameters(value), ', ')})"


def _parameters(value: Any) -> list[str]:
    try:
        found = inspect.signature(value).parameters.values()
    except ValueError:
        return []
    stars: dict[object, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return [stars.get(one.kind, "") + one.name for one in found if one.name != "self"]


def _few(names: Iterable[str], between: str = " · ") -> str:
    found = list(names)
    return between.join(found[:MANY]) + (f"{between}…" if len(found) > MANY else "")


def _documented(of: str) -> Any:
    room, _, name = of.partition(".")
    if room == "app":
        return getattr(App, name)
    home = BESIDE.get(room, {}).get(name, f"nerv.{room}")
    return getattr(importlib.import_module(home), name)


def _first(value: Any) -> str:
    """The first sentence of a docstring, on one line."""
    if isinstance(value, TypeVar):
        return "A type variable."
    told = " ".join((inspect.getdoc(value) or "").partition("\n\n")[0].split())
    return _cell(re.split(r"(?<=\.)\s+(?=[A-Z`(])", re.sub(r" \(rule \d+\)", "", told))[0])


@cache
def examples() -> Mapping[str, str]:
    """The examples by the name that each is of."""
    text = EXAMPLES.read_text(encoding="utf-8")
    pieces = re.split(r"^#: ([\w.]+)\n", text, flags=re.M)[1:]
    return {name: f"{code.strip()}\n" for name, code in zip(pieces[::2], pieces[1::2], strict=True)}
