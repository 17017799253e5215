# SPDX-License-Identifier: Apache-2.0
"""`nerv projections`: how far the read models are, and how they are rebuilt beside what is live."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from nerv.cli.calling import REFUSED, AsJson, call, console, instant, say_json
from nerv.cli.show import table
from nerv.client import Client
from nerv.client.projections import Document
from nerv.errors import Conflict

projections = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Read models: how far they are, and how they are rebuilt."
)

ASK_SECONDS = 0.5  # between two looks at how far a rebuild is
COLUMNS = ("projection", "live", "is", "lag", "seconds", "rate", "folded", "entities", "parked", "bytes")
VERSIONS = ("version", "is", "ready", "percent", "seconds_left", "code_changed", "epoch")
PARTITIONS = ("partition", "position", "lag", "seconds_behind", "rate", "errors", "parked", "size")
PARKED = ("key", "partition", "event", "type", "attempt", "letter", "cause")

Name = Annotated[str, typer.Argument(help="The projection.")]
Accept = Annotated[bool, typer.Option("--accept-differences", help="Switch also where it says something else.")]


@projections.command("list")
def list_projections(as_json: AsJson = False) -> None:
    """All of them: which version is live and how it is; events it is behind, and seconds; events a second, folded, views."""
    rows = call(lambda client: client.views.projections())
    if as_json:
        say_json({"projections": rows})
        return
    console().print(table("projections", [_flat(row) for row in rows], COLUMNS))
    _say_faults(rows)


@projections.command("show")
def show(name: Name, as_json: AsJson = False) -> None:
    """One, with its versions: which is live, which is being built and how far, which is kept to go back to; where it stands."""
    found = call(lambda client: client.projections.get(name))
    _say(found, as_json)
    now = found["now"]
    if as_json or now is None:
        return
    console().print(table("now", [_flat(now)], COLUMNS))
    console().print(table("partitions", now.get("partitions", ()), PARTITIONS))
    for what in ("types", "topics", "indexes", "perspectives"):
        console().print(f"{what}: {', '.join(now[what]) or 'none'}", markup=False)
    _say_faults([now])


@projections.command("parked")
def parked(
    name: Name,
    most: Annotated[int, typer.Option("--max", min=1, max=1000, help="Keys at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """The keys whose fold has failed, and at which event. Replay or discard their dead letters, and they are folded on."""
    found = call(lambda client: client.projections.parked(name, limit=most))
    if as_json:
        say_json(found)
        return
    console().print(table(f"{name}: {found['all']:,} parked", found["parked"], PARKED))
    if found["parked"]:
        console().print(f"fold on: nerv deadletters replay {found['subscription']} --key KEY", markup=False)


@projections.command("fingerprint")
def fingerprint(name: Name, as_json: AsJson = False) -> None:
    """The digest of the code that folds now, and those that the versions were begun with. Exit 1 where the live one differs."""
    found = call(lambda client: client.projections.get(name))
    versions = [{key: one[key] for key in ("version", "fingerprint", "changed")} for one in found["versions"]]
    changed = any(one["changed"] for one in found["versions"] if one["version"] == found["live"])
    if as_json:
        say_json({"projection": name, "fingerprint": found["fingerprint"], "live": found["live"], "versions": versions})
    else:
        rows = [{"version": "the code now", "fingerprint": found["fingerprint"]}, *versions]
        console().print(table(name, rows, ("version", "fingerprint", "changed")))
        if changed:
            console().print(f"fold it anew: nerv projections rebuild {name}", markup=False)
    if changed:
        raise typer.Exit(REFUSED)


@projections.command("rebuild")
def rebuild(
    name: Name,
    since: Annotated[str | None, typer.Option(help="Fold only what was recorded from this instant on.")] = None,
    switch: Annotated[bool, typer.Option(help="Switch to the new version if it says the same as the live one.")] = True,
    accept: Accept = False,
    as_json: AsJson = False,
) -> None:
    """Build another version beside the live one, compare both, and switch. Readers see nothing of it until then.

    One that is being built already is watched, so that this may be interrupted and typed again. Exit 1 where they differ and
    that was not accepted: the new version stays beside the live one, to look at, to switch to or to cancel.
    """
    _rebuild(name, instant(since, "--since"), switch, accept, as_json)


@projections.command("reset")
def reset(
    name: Name,
    to: Annotated[
        str, typer.Option(help="The instant, such as 2013-01-15T12:00Z: nothing recorded before it is folded.")
    ],
    as_json: AsJson = False,
) -> None:
    """Begin a projection anew at an instant, beside the live version, and switch to that. `rollback` goes back."""
    _rebuild(name, instant(to, "--to"), True, True, as_json)


def _rebuild(name: str, since: datetime | None, switch: bool, accept: bool, as_json: bool) -> None:
    async def work(client: Client) -> Document:
        stands = await client.projections.get(name)
        if stands["building"] is not None and since is not None:
            raise Conflict(
                f"version {stands['building']} is being built already; cancel it first: nerv projections cancel {name}"
            )
        built = stands["building"] or (await client.projections.rebuild(name, since=since))["building"]
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
        steps = (f"nerv projections {step} {name}" for step in ("switch", "cancel"))
        done = (
            f"version {found['built']} is live; back: nerv projections rollback {name}"
            if found["switched"]
            else f"version {found['built']} is not live yet: {', or '.join(steps)}"
        )
        console().print(done, markup=False, soft_wrap=True)
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
    """Have no fold take an event, from now on. A key that is parked at it is folded on, without it."""
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
    """Until a version has caught up, with a bar on standard error. Raises Conflict for one that is given up meanwhile."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as bar:
        task = bar.add_task(f"{name}, version {number}", total=100, left="")
        while True:
            versions = (await client.projections.get(name))["versions"]
            found = next((v for v in versions if v["version"] == number), None)
            if found is None:
                raise Conflict(f"version {number} of {name} was given up while it was built")
            left = found["seconds_left"]
            told = "" if found["ready"] else "..." if left is None else f"{timedelta(seconds=round(left))} left"
            bar.update(task, completed=100 if found["ready"] else found["percent"], left=told)
            if found["ready"]:
                return
            await asyncio.sleep(ASK_SECONDS)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A projection as a line: how it is in one word, and how many seconds its furthest partition is behind."""
    control = row["control"]
    live: dict[str, Any] = next((v for v in control["versions"] if v["version"] == control["live"]), {})
    seconds = [p["seconds_behind"] for p in row.get("partitions", ()) if p["seconds_behind"] is not None]
    said = {
        "live": control["live"],
        "is": _word(row, live),
        "seconds": max(seconds, default=None),
        "bytes": row["size"],
    }
    return {**row, **said}


def _word(row: dict[str, Any], live: dict[str, Any]) -> str:
    if row["control"]["paused"]:
        return "paused"  # whatever else there is: while its lanes are stopped nobody can say how far it is
    if row["fault"] is not None:
        return "failing"
    if not live.get("ready"):
        return f"rebuilding, {live.get('percent', 0)} %"
    return "code changed" if live.get("changed") else "ok"


def _say_faults(rows: Sequence[dict[str, Any]]) -> None:
    for row in rows:
        if row["fault"] is not None:
            console().print(f"{row['projection']}: {row['fault']}", markup=False, soft_wrap=True)


def _say(found: Document, as_json: bool) -> None:
    if as_json:
        say_json(found)
        return
    words = {found["live"]: "live", found["building"]: "being built", found["previous"]: "kept to go back to"}
    rows = [
        {**version, "is": words.get(version["version"], ""), "code_changed": version["changed"]}
        for version in found["versions"]
    ]
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
