# SPDX-License-Identifier: Apache-2.0
"""`nerv projections`: how far the read models are, and how they are rebuilt beside what is live."""

import asyncio
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from nerv.cli.calling import REFUSED, AsJson, call, console, instant, say_json
from nerv.cli.show import table
from nerv.client import Client
from nerv.client.projections import Document

projections = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Read models: how far they are, and how they are rebuilt."
)

ASK_SECONDS = 0.5  # between two looks at how far a rebuild is
COLUMNS = ("projection", "live", "lag", "folded", "entities", "paused", "code changed", "fault")
VERSIONS = ("version", "is", "ready", "percent", "seconds_left", "changed", "epoch")

Name = Annotated[str, typer.Argument(help="The projection.")]


@projections.command("list")
def list_projections(as_json: AsJson = False) -> None:
    """All of them, with lag and live version; `code changed` where a fold is not the one that its views were begun with."""
    rows = call(lambda client: client.views.projections())
    if as_json:
        say_json({"projections": rows})
        return
    console().print(table("projections", [_flat(row) for row in rows], COLUMNS))


@projections.command("show")
def show(name: Name, as_json: AsJson = False) -> None:
    """One, with its versions: which is live, which is being built and how far, which is kept to go back to."""
    _say(call(lambda client: client.projections.get(name)), as_json)


@projections.command("rebuild")
def rebuild(
    name: Name,
    since: Annotated[str | None, typer.Option(help="Fold only what was recorded from this instant on.")] = None,
    switch: Annotated[bool, typer.Option(help="Switch to the new version if it says the same as the live one.")] = True,
    accept: Annotated[
        bool, typer.Option("--accept-differences", help="Switch also where it says something else.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build another version beside the live one, compare both, and switch. Readers see nothing of it until then.

    Exit 1 where they differ and that was not accepted: the new version stays beside the live one, to look at, to switch to
    or to cancel.
    """
    begin = instant(since, "--since")

    async def work(client: Client) -> Document:
        built = (await client.projections.rebuild(name, since=begin))["building"]
        await _watch(client, name, built, shown=not as_json)
        parity = await client.projections.parity(name)
        switched = switch and (accept or parity["equal"])
        stands = await (client.projections.switch(name, version=built) if switched else client.projections.get(name))
        return {"built": built, "switched": switched, "parity": parity, "stands": stands}

    found = call(work)
    if as_json:
        say_json(found)
    else:
        _say_parity(found["parity"])
        done = f"version {found['built']} is live" if found["switched"] else f"version {found['built']} is not live yet"
        console().print(f"{done}: nerv projections show {name}", markup=False)
    if switch and not found["switched"]:
        raise typer.Exit(REFUSED)


@projections.command("parity")
def parity(name: Name, as_json: AsJson = False) -> None:
    """What differs between the live version and the other one. Exit 1 when anything does."""
    found = call(lambda client: client.projections.parity(name))
    if as_json:
        say_json(found)
    else:
        _say_parity(found)
    if not found["equal"]:
        raise typer.Exit(REFUSED)


@projections.command("switch")
def switch_to(name: Name, as_json: AsJson = False) -> None:
    """Make the version that was built the live one, in one step; the one before is kept to go back to."""
    _say(call(lambda client: client.projections.switch(name)), as_json)


@projections.command("cancel")
def cancel(name: Name, as_json: AsJson = False) -> None:
    """Give up what is being built."""
    _say(call(lambda client: client.projections.cancel(name)), as_json)


@projections.command("rollback")
def rollback(name: Name, as_json: AsJson = False) -> None:
    """Go back to the version that was live before."""
    _say(call(lambda client: client.projections.rollback(name)), as_json)


@projections.command("release")
def release(name: Name, as_json: AsJson = False) -> None:
    """Delete the version that is kept to go back to."""
    _say(call(lambda client: client.projections.release(name)), as_json)


@projections.command("pause")
def pause(name: Name, as_json: AsJson = False) -> None:
    """Fold nothing until it is resumed. Reads go on."""
    _say(call(lambda client: client.projections.pause(name)), as_json)


@projections.command("resume")
def resume(name: Name, as_json: AsJson = False) -> None:
    """Fold on."""
    _say(call(lambda client: client.projections.resume(name)), as_json)


@projections.command("skip")
def skip(
    name: Name, event: Annotated[str, typer.Argument(help="The id of the event.")], as_json: AsJson = False
) -> None:
    """Have no fold take an event, from now on. A key that it has parked is folded anew by a rebuild."""
    _say(call(lambda client: client.projections.skip(name, event)), as_json)


@projections.command("rates")
def rates(top: Annotated[int, typer.Option(help="Hot keys to show.", min=1)] = 10, as_json: AsJson = False) -> None:
    """What comes now: events of each type a second, and the keys that come most, over the last seconds."""
    found = call(lambda client: client.projections.rates(top=top))
    if as_json:
        say_json(found)
        return
    title = f"events in the last {found['seconds']} s"
    console().print(table(title, found["types"], ("type", "per_second", "counts")))
    console().print(table("hot keys", found["keys"], ("key", "per_second", "events")))


@projections.command("owners")
def owners(as_json: AsJson = False) -> None:
    """Which replica works on which partitions, since when, and which partitions went from one to another lately."""
    found = call(lambda client: client.projections.owners())
    if as_json:
        say_json(found)
        return
    console().print(table("partitions", found["partitions"], ("partition", "owner", "since")))
    console().print(table("moves", found["moves"], ("at", "partition", "before", "after")))


async def _watch(client: Client, name: str, number: int, *, shown: bool) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as bar:
        task = bar.add_task(f"{name}, version {number}", total=100)
        while True:
            found = next(v for v in (await client.projections.get(name))["versions"] if v["version"] == number)
            left = found["seconds_left"]
            told = "" if not left else f", {left:.0f} s left"
            bar.update(task, completed=found["percent"], description=f"{name}, version {number}{told}")
            if found["ready"]:
                return
            await asyncio.sleep(ASK_SECONDS)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    control = row["control"]
    live: dict[str, Any] = next((v for v in control["versions"] if v["version"] == control["live"]), {})
    return {**row, "live": control["live"], "paused": control["paused"], "code changed": live.get("changed")}


def _say(found: Document, as_json: bool) -> None:
    if as_json:
        say_json(found)
        return
    words = {found["live"]: "live", found["building"]: "being built", found["previous"]: "kept to go back to"}
    rows = [{**version, "is": words.get(version["version"], "")} for version in found["versions"]]
    paused = ", paused" if found["paused"] else ""
    console().print(table(f"{found['projection']}{paused}", rows, VERSIONS))
    if found["skipped"]:
        console().print(f"skipped: {', '.join(found['skipped'])}", markup=False)


def _say_parity(found: Document) -> None:
    counts = ("same", "differing", "only_live", "only_built")
    console().print(table("parity", [{name: found[name] for name in counts}], counts))
    if found["fields"]:
        fields = [{"field": name, "keys": count} for name, count in found["fields"].items()]
        console().print(table("fields that differ", fields))
        console().print(table("examples", found["examples"], ("key", "only", "differs", "changes")))
