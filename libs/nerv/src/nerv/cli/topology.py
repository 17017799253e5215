# SPDX-License-Identifier: Apache-2.0
"""`nerv topology`: where events go, as declared and as seen."""

import sys
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Annotated

import typer
from rich.text import Text
from rich.tree import Tree

from nerv.app import find_app
from nerv.cli.calling import AsJson, call, console, fail, say_json
from nerv.cli.replicas import duration
from nerv.cli.setup import AppOption
from nerv.client import Client
from nerv.errors import NervError
from nerv.service import ServiceSettings
from nerv.topology import Difference, Way, declared, mermaid

STYLES = {None: "green", Difference.UNSEEN: "dim", Difference.UNDECLARED: "yellow"}


def topology(
    app: AppOption = None,
    as_mermaid: Annotated[bool, typer.Option("--mermaid", help="As a Mermaid flowchart.")] = False,
    only_declared: Annotated[
        bool, typer.Option("--declared", help="What the app declares, from its registry; no mesh is asked.")
    ] = False,
    only_differences: Annotated[
        bool, typer.Option("--differs", help="Only what differs; exits 1 if anything does.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Where events go: what the app declares, what the replicas have seen go there, and what differs.

    Counts are since the replicas that tell of them started.
    """
    name, ways = _local(app) if only_declared else call(_asked)
    differing = [way for way in ways if way.differs is not None]
    shown = differing if only_differences else ways
    if as_json:
        say_json({"mesh": name, "ways": [way.to_dict() for way in shown]})
    elif as_mermaid:
        sys.stdout.write(mermaid(shown))
    else:
        console().print(way_tree(f"mesh {name}", shown, counted=not only_declared))
        if not only_declared:
            console().print(_summary(ways))
    if only_differences and differing:
        raise typer.Exit(1)


def _local(app: str | None) -> tuple[str, Sequence[Way]]:
    try:
        settings = ServiceSettings.load()
        return settings.mesh, declared(find_app(app), settings.mesh)
    except NervError as error:
        raise fail(error) from None


async def _asked(client: Client) -> tuple[str, Sequence[Way]]:
    told = await client.topology()
    return told["mesh"], [Way.from_dict(way) for way in told["ways"]]


def way_tree(title: str, ways: Sequence[Way], *, counted: bool) -> Tree:
    """A branch for each end that something comes from, a line for each way out of it."""
    made = Tree(Text(title, style="bold"))
    for source, leading in groupby(ways, key=lambda way: way.source):
        branch = made.add(_end(source))
        for way in leading:
            branch.add(_line(way, counted))
    if not ways:
        made.add(Text("nothing", style="dim"))
    return made


def _line(way: Way, counted: bool) -> Text:
    several = way.what.count(",") + 1
    what = f"{several} event types" if several > 1 else way.what  # a line has room for one
    line = Text.assemble("→ ", _end(way.target), (f"  {what}" if what else "", "dim"))
    return line.append("  ").append(_seen(way)) if counted else line


def _end(end: str) -> Text:
    kind, _, name = end.partition(":")
    return Text.assemble((f"{kind} ", "cyan"), (name, "bold"))


def _seen(way: Way) -> Text:
    if way.always:
        return Text("")
    return Text(", ".join(_facts(way)), style=STYLES[way.differs])


def _facts(way: Way) -> Iterator[str]:
    if way.differs is not None:
        yield way.differs.value
    if way.count:
        yield f"{way.count:,} events" + (f", {way.rate:,.0f}/s" if way.rate >= 1 else "")
    if way.last is not None and way.rate < 1:
        yield f"{duration(max(0.0, time.time() - way.last))} ago"


def _summary(ways: Sequence[Way]) -> Text:
    """How many ways of each kind there are."""
    counts = {kind: sum(way.differs is kind for way in ways) for kind in Difference}
    seen = sum(bool(way.count) for way in ways)
    said = [f"{seen} ways seen", *(f"{count} {kind.value}" for kind, count in counts.items() if count)]
    return Text("; ".join(said) + ("" if any(counts.values()) else "; nothing differs"))
