# SPDX-License-Identifier: Apache-2.0
"""`nerv deadletters`."""

import base64
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.markup import escape

from nerv.cli.calling import AsJson, call, console, say_json, usage
from nerv.cli.show import cell, table
from nerv.errors import Invalid

deadletters = typer.Typer(
    no_args_is_help=True, add_completion=False, help="What could not be processed: look at it, edit it, replay it."
)

SHORT_CAUSE = 120  # characters
DOOR = "door:"  # before the topic whose door it is
COLUMNS = ("id", "subscription", "state", "key", "attempt", "cause", "origin", "written")
LISTED = ("id", "subscription", "state", "key", "cause", "written")  # what a line has room for

Subscription = Annotated[str, typer.Argument(help="The subscriber that failed: a group, a reaction, door:TOPIC.")]
Letters = Annotated[list[str] | None, typer.Argument(help="Ids, as `list` shows them: 0:42.")]
Key = Annotated[str | None, typer.Option(help="All letters of this key, in order; then the key goes on.")]
Everything = Annotated[bool, typer.Option("--all", help="All letters that are dead, up to 5000.")]


@deadletters.command("list")
def list_letters(
    subscription: Annotated[str | None, typer.Argument(help="Only those of this subscriber.")] = None,
    key: Annotated[str | None, typer.Option(help="Only those with this key.")] = None,
    cause: Annotated[str | None, typer.Option(help="Only those whose cause contains this.")] = None,
    topic: Annotated[str | None, typer.Option(help="Only those about records of this topic.")] = None,
    most: Annotated[int, typer.Option("--max", min=1, max=500, help="Letters at most.")] = 50,
    before: Annotated[str | None, typer.Option(help="Where the next page goes on, as the last one says.")] = None,
    as_json: AsJson = False,
) -> None:
    """The newest dead letters."""
    words = {"subscription": subscription, "key": key, "cause": cause, "topic": topic, "limit": most, "before": before}
    page = call(lambda client: client.deadletters.list(**words))
    if as_json:
        say_json(page)
        return
    console().print(table("dead letters", [_short(letter) for letter in page["letters"]], LISTED))
    if page["next"]:
        console().print(f"older ones: --before {page['next']}", markup=False)


@deadletters.command("parked")
def parked(subscription: Subscription, as_json: AsJson = False) -> None:
    """The keys that wait for their dead letters."""
    found = call(lambda client: client.deadletters.parked(subscription))
    if as_json:
        say_json(found)
        return
    title = f"{subscription}: {found['dead']:,} dead, {found['replaying']:,} on their way again"
    console().print(
        table(escape(title), found["parked"], ("key", "letters", "replaying", "first", "cause", "partition"))
    )


@deadletters.command("show")
def show(
    subscription: Subscription,
    letter: Annotated[str, typer.Argument(help="The letter's id.")],
    as_json: AsJson = False,
) -> None:
    """All of a letter: its cause, its headers, and what is in it."""
    found = call(lambda client: client.deadletters.show(subscription, letter))
    if as_json:
        say_json(found)
        return
    for name in (*COLUMNS, "held", "edited"):
        console().print(f"[bold]{name:12}[/bold] {cell(found.get(name))}")
    console().print(table("headers", [{"name": name, "value": value} for name, value in found["headers"]]))
    console().print(_data(found), markup=False)


def _data(letter: dict[str, Any]) -> str:
    """The data as JSON over several lines, or as text, or how many bytes it is."""
    if "base64" not in letter:
        return "no data"
    data = base64.b64decode(letter["base64"])
    try:
        return orjson.dumps(orjson.loads(data), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        return data.decode() if data.isascii() else f"{len(data)} bytes; --json has them"


@deadletters.command("edit")
def edit(
    subscription: Subscription,
    letter: Annotated[str, typer.Argument(help="The letter's id.")],
    data: Annotated[str | None, typer.Option(help="The new data, as JSON.")] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="The new data, as the bytes of a file.")] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(help="A header to set: ce_type=flight.departed.v1; NAME= removes it. Repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write another edition of a letter, which a replay then takes; the old one stays where it is."""
    change: dict[str, Any] = {}
    try:
        if data is not None:
            change["data"] = orjson.loads(data)
        if file is not None:
            change["base64"] = base64.b64encode(file.read_bytes()).decode()
    except (orjson.JSONDecodeError, OSError) as error:
        raise usage(Invalid(f"the new data cannot be read: {error}")) from None
    if header:
        pairs = [one.partition("=") for one in header]
        change["headers"] = {name: value or None for name, _, value in pairs}
    if not change or len(change.keys() & {"data", "base64"}) > 1:
        raise usage(Invalid("say what changes: --data or --file, and --header"))
    made = call(lambda client: client.deadletters.edit(subscription, letter, change))
    if as_json:
        say_json({"id": made, "edited": letter})
    else:
        console().print(f"written: nerv deadletters replay {subscription} {made}", markup=False)


@deadletters.command("replay")
def replay(
    subscription: Subscription,
    letters: Letters = None,
    key: Key = None,
    everything: Everything = False,
    rate: Annotated[float | None, typer.Option(help="At most so many a second.")] = None,
    as_json: AsJson = False,
) -> None:
    """Send letters to their subscriber again, and to nobody else; those of a key in order."""
    chosen = _chosen(letters, key, everything)
    count = call(lambda client: client.deadletters.replay(subscription, rate=rate, **chosen))
    if as_json:
        say_json({"subscription": subscription, "replaying": count})
    else:
        topic = subscription.removeprefix(DOOR)
        said = f"on their way to {subscription}" if topic == subscription else f"published to {topic}"
        console().print(f"{count:,} {said}", markup=False)


@deadletters.command("discard")
def discard(
    subscription: Subscription,
    letters: Letters = None,
    key: Key = None,
    everything: Everything = False,
    why: Annotated[str, typer.Option(help="Why; it is recorded.")] = "",
    as_json: AsJson = False,
) -> None:
    """Say that nobody wants these letters; a key without letters goes on. It cannot be taken back."""
    chosen = _chosen(letters, key, everything)
    count = call(lambda client: client.deadletters.discard(subscription, why=why, **chosen))
    if as_json:
        say_json({"subscription": subscription, "discarded": count})
    else:
        console().print(f"{count:,} discarded", markup=False)


def _short(letter: dict[str, Any]) -> dict[str, Any]:
    """A letter as it stands in a list: `show` has all of it."""
    cause = letter["cause"] if len(letter["cause"]) <= SHORT_CAUSE else f"{letter['cause'][:SHORT_CAUSE]}…"
    return letter | {"cause": cause, "written": letter["written"][:19]}


def _chosen(letters: list[str] | None, key: str | None, everything: bool) -> dict[str, Any]:
    given: dict[str, Any] = {"letters": letters, "key": key, "all": everything}
    chosen = {name: value for name, value in given.items() if value not in (None, [], False)}
    if len(chosen) != 1:
        raise usage(Invalid("say which letters: their ids, --key or --all"))
    return chosen
