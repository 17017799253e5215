# SPDX-License-Identifier: Apache-2.0
"""`nerv describe`: what an app is, as a tree, before and without any service."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.text import Text
from rich.tree import Tree

from nerv.app import find_app
from nerv.app.picture import picture
from nerv.cli.calling import AsJson, call, console, fail, say_json
from nerv.cli.setup import AppOption
from nerv.documents import asyncapi
from nerv.errors import NervError
from nerv.service import ServiceSettings

Document = Mapping[str, Any]


def describe(
    service: Annotated[
        str | None, typer.Argument(help="A service that runs: what its components say of themselves now.")
    ] = None,
    app: AppOption = None,
    as_document: Annotated[
        bool,
        typer.Option("--document", help="AsyncAPI 3 of the app, as JSON; of a service that is named, OpenAPI 3.1."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """What an app declares, and how it hangs together: from event to reaction, projection, perspective, workflow.

    The app is imported and not started; no service is asked, unless one is named.
    """
    if service is not None and as_document:
        say_json(call(lambda client: client.openapi(service)))
        return
    if service is not None:
        told = call(lambda client: client.components(service))
        say_json(told) if as_json else console().print(component_tree(told))
        return
    try:
        found = find_app(app)
        document = asyncapi(found, ServiceSettings.load().mesh) if as_document else picture(found)
    except NervError as error:
        raise fail(error) from None
    say_json(document) if as_json or as_document else console().print(picture_tree(document))


def picture_tree(document: Document) -> Tree:
    """The picture as a tree; kinds of which there are none are left out."""
    made = Tree(Text.assemble("app ", (document["app"], "bold")))
    for kind, lines in LINES.items():
        rows: Sequence[Document] = document[kind]
        if not rows:
            continue
        branch = made.add(Text.assemble((kind, "bold cyan"), f" {len(rows)}"))
        for row in rows:
            _add(branch, lines(row), row)
    if not made.children:
        made.add("declares nothing yet")
    return made


def component_tree(told: Document) -> Tree:
    """A component and those inside it, as they were when they were asked."""
    made = Tree(_head(told["name"], f"{told['kind']}, {told['health']}"))
    for part in told["parts"]:
        _add(made, _component(part), part)
    return made


def _add(branch: Tree, lines: Sequence[Text], row: Document) -> None:
    doc = [Text(row["doc"], style="italic")] if row.get("doc") else []
    leaf = branch.add(Group(lines[0], *doc, *lines[1:]))
    for seen in row.get("perspectives", ()):
        _add(leaf, [_head(f"perspective {seen['name']}", ", ".join(seen["fields"]))], seen)
    for step in row.get("steps", ()):
        leaf.add(_step(step))
    for part in row.get("parts", ()):
        _add(leaf, _component(part), part)


def _head(name: str, rest: str = "") -> Text:
    return Text.assemble((name, "bold"), f"  {rest}" if rest else "")


def _facts(**facts: Any) -> list[Text]:
    """`topic x, key y`: one line of what is there; none where nothing is."""
    said = [f"{name.replace('_', ' ')} {_listed(value)}" for name, value in facts.items() if value]
    return [Text(", ".join(said), style="dim")] if said else []


def _listed(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {inner}" for name, inner in value.items())
    return value if isinstance(value, str) else ", ".join(map(str, value))


def _called(row: Document) -> Text:
    return _head(row["name"], f"({_listed(row['parameters'])})")


def _event(row: Document) -> list[Text]:
    heard = [f"{kind} {', '.join(row[kind])}" for kind in ("reactions", "projections") if row[kind]]
    to = Text(f"→ {'; '.join(heard)}", style="green") if heard else Text("nobody listens", style="yellow")
    return [_head(row["name"], f"({', '.join(row['fields'])})"), *_facts(topic=row["topic"], key=row["key"]), to]


def _reaction(row: Document) -> list[Text]:
    return [_head(row["name"], f"on {row['on']}"), *_facts(topic=row["topic"], batch=row["batch"])]


def _decider(row: Document) -> list[Text]:
    return [_head(row["name"], f"streams {row['streams']}"), *_facts(state_by_projection=row["projection"])]


def _projection(row: Document) -> list[Text]:
    key = row["key"]
    fields = " or ".join(dict.fromkeys(key.values())) if isinstance(key, Mapping) else key
    of = f"of streams {row['streams']}" if key is None else f"by {fields}"
    return [_head(row["name"], f"{of}: {row['state']}"), *_facts(folds=row["folds"])]


def _task(row: Document) -> list[Text]:
    facts = f"{row['retries']} retries, {row['timeout_seconds']:g} s an attempt"
    return [_called(row), Text(facts, style="dim")]


def _workflow(row: Document) -> list[Text]:
    notes = []
    if row["error"]:
        notes = [Text(f"its steps depend on its input: {row['error']}", style="yellow")]
    elif row["input"]:
        notes = [Text(f"drawn for {_listed(row['input'])}", style="dim")]
    awaited = [f"{kind} by {field}" for kind, field in row["awaits"].items()]
    return [_called(row), *notes, *_facts(awaits=awaited)]


def _step(step: Document) -> Text:
    name = step["name"] if step["name"] == step["task"] else f"{step['name']}: {step['task']}"
    many = "" if step["each"] is None else f", {step['each']} times"
    return Text.assemble(name, many, (f"  after {', '.join(step['after'])}", "dim") if step["after"] else "")


def _component(row: Document) -> list[Text]:
    facts = _facts(takes=row["inputs"], gives=row["outputs"], counters=row["counters"])
    return [_head(row["name"], f"{row['kind']}, {row['health']}"), *facts]


LINES: Mapping[str, Callable[[Document], list[Text]]] = {
    "events": _event,
    "upcasters": lambda row: [_head(row["name"], f"is read as {row['to']}")],
    "topics": lambda row: [_head(row["name"], f"{row['partitions']} partitions")],
    "middleware": lambda row: [
        _head(row["name"], f"to {row['topic'] or 'all topics'}, {row['way']}"),
        *_facts(of=row["types"], to=row["to"]),
    ],
    "bridges": lambda row: [_head(row["name"], f"{row['from']} → {row['to']}"), *_facts(of=row["types"])],
    "reactions": _reaction,
    "deciders": _decider,
    "projections": _projection,
    "tasks": _task,
    "workflows": _workflow,
    "schedules": lambda row: [
        _head(row["name"], f"{row['workflow']} at {row['ticks']}"),
        *_facts(overlap=row["overlap"]),
    ],
    "sources": lambda row: [_head(row["name"], row["class"]), *_facts(streams=row["streams"])],
    "syncs": lambda row: [
        _head(row["name"], row["class"]),
        *_facts(**{name: row[name] for name in ("direction", "perspective", "strategy", "schedule")}),
    ],
    "components": _component,
}
