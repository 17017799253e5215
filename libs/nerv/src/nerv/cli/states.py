# SPDX-License-Identifier: Apache-2.0
"""`nerv state`: of a stream at any time, between two, or of a whole category."""

from datetime import datetime
from typing import Annotated, Any

import typer

from nerv.cli.calling import AsJson, AsOf, KnownAt, call, console, instant, moment, say_json, usage
from nerv.cli.show import table, tree
from nerv.client import Client
from nerv.errors import Invalid

SHOWN = 200  # states of a table; --json has all
BY = {"version": "version", "as-of": "as_of", "known-at": "known_at"}


def state(
    stream: Annotated[str | None, typer.Argument(help="The stream, such as aircraft-N14228.")] = None,
    category: Annotated[
        str | None, typer.Option(help="The state of each stream of a category instead, all as of one instant.")
    ] = None,
    version: Annotated[int | None, typer.Option(min=0, help="As of this version.")] = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    diff: Annotated[
        tuple[str, str] | None, typer.Option(help="What changed between two versions, or two instants: --diff 1 3")
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="What --diff counts by: version, as-of (instants by default) or known-at.")
    ] = None,
    projection: Annotated[
        str | None, typer.Option(help="Which projection folds it; by default the one of the stream's category.")
    ] = None,
    deleted: Annotated[bool, typer.Option("--deleted", help="Also of a stream that was deleted.")] = False,
    as_json: AsJson = False,
) -> None:
    """The state of a stream, folded from its history; what changed in it; or all states of a category."""
    bounds = {
        "projection": projection,
        "as_of": instant(as_of, "--as-of"),
        "known_at": instant(known_at, "--known-at"),
        "deleted": deleted,
    }
    if (stream is None) == (category is None):
        raise usage(Invalid("name a stream, or say --category NAME"))
    if category is not None:
        if version is not None or diff is not None:
            raise usage(Invalid("a category is shown as of an instant: leave out --version and --diff"))
        _category(category, bounds, as_json)
    elif diff is not None:
        _diff(stream or "", diff, by, bounds, as_json)
    else:
        _one(stream or "", bounds | {"version": version}, as_json)


def _one(stream: str, bounds: dict[str, Any], as_json: bool) -> None:
    found = call(lambda client: client.streams.state(stream, **bounds))
    if as_json:
        say_json(found)
        return
    title = f"{stream} at version {found['version']}{_instants(found)}"
    if found["state"] is None:
        console().print(f"{title}: nothing had happened yet", markup=False)
    else:
        console().print(tree(title, found["state"]))


def _category(category: str, bounds: dict[str, Any], as_json: bool) -> None:
    async def work(client: Client) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        async for row in client.streams.states(category, **bounds):
            if as_json:
                say_json(row)
            elif len(rows) <= SHOWN:
                rows.append(row)
            else:
                break
        return rows

    rows = call(work)
    if as_json:
        return
    more = len(rows) > SHOWN
    shown = [{name: row[name] for name in ("stream", "version", "state")} for row in rows[:SHOWN]]
    counted = f"{'the first ' if more else ''}{len(shown)} stream{'' if len(shown) == 1 else 's'}"
    console().print(f"{category}: {counted}{_instants(rows[0]) if rows else ''}", markup=False)
    console().print(table("", shown))
    if more:
        console().print("There are more: --json has all of them.")


def _diff(stream: str, ends: tuple[str, str], by: str | None, bounds: dict[str, Any], as_json: bool) -> None:
    if by is not None and by not in BY:
        raise usage(Invalid(f"--by must be {', '.join(BY)}, not {by[:40]!r}"))
    first, second = (_place(end) for end in ends)
    found = call(lambda client: client.streams.diff(stream, first, second, by=by and BY[by], **bounds))
    if as_json:
        say_json(found)
        return
    first_at, second_at = (f"{found[end]['at']} (version {found[end]['version']})" for end in ("from", "to"))
    if found["by"] == "version":
        first_at, second_at = (f"version {found[end]['version']}" for end in ("from", "to"))
    changed = "what changed" if found["changes"] else "nothing changed"
    console().print(f"{stream}, {changed} from {first_at} to {second_at}{_instants(found)}", markup=False)
    rows = [
        {"what": ".".join(map(str, change["path"])) or "all of it", "was": change.get("old"), "is": change.get("new")}
        for change in found["changes"]
    ]
    if rows:
        console().print(table("", rows, ("what", "was", "is")))


def _place(text: str) -> int | datetime:
    if text.isascii() and text.isdigit() and len(text) <= 19:
        return int(text)
    return moment(text, "--diff")


def _instants(found: dict[str, Any]) -> str:
    """What the answer holds for: asked with these again, it is the same for ever."""
    bounds = ", ".join(f"{name.replace('_', ' ')} {found[name]}" for name in ("as_of", "known_at") if found[name])
    return f" ({bounds})" if bounds else ""
