# SPDX-License-Identifier: Apache-2.0
"""`nerv append` and `nerv history`."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from typing import Annotated, NamedTuple

import typer

from nerv.cli.calling import AsJson, AsOf, KnownAt, call, console, fail, instant, say_bytes, say_json, usage
from nerv.cli.events import event_row, line, version_row
from nerv.cli.show import table
from nerv.client import Client
from nerv.cloudevents import to_json_line
from nerv.errors import Invalid, NervError
from nerv.protocols import Appended, AppendRequest, Expected, Followed, ReadQuery
from nerv.types import Event, check_id, check_version, format_instant, new_event_id, parse_instant, utc_now

Stream = Annotated[str, typer.Argument(help="The stream, such as aircraft-N14228.")]

SHOWN = 200  # events of a table, where nobody says how many


def append(
    stream: Stream,
    data: Annotated[str, typer.Argument(help="The event's data as JSON.")],
    event_type: Annotated[str, typer.Option("--type", help="The event's type.")],
    expected_version: Annotated[
        str, typer.Option(help="any, none, exists, or the version the stream must be at.")
    ] = "any",
    source: Annotated[str, typer.Option(help="Who says it.")] = "nerv-cli",
    event_id: Annotated[
        str | None,
        typer.Option("--id", help="The event's id; a new one by default. Repeat with the same after exit 3."),
    ] = None,
    time: Annotated[str | None, typer.Option(help="When it happened; now by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Append an event to a stream; done when its transaction is committed."""
    try:
        event = Event(
            check_id(event_id or new_event_id(), "--id"),
            check_id(source, "--source"),
            check_id(event_type, "--type"),
            parse_instant(time, "--time") if time else utc_now(),
            data.encode(),
        )
        request = AppendRequest(check_id(stream, "stream"), [event], Expected.parse(expected_version))
    except NervError as error:
        raise usage(error) from None
    [outcome] = call(lambda client: client.streams.append([request]))
    if not isinstance(outcome, Appended):
        raise fail(outcome)
    if as_json:
        say_json(
            {
                "stream": stream,
                "id": event.id,
                "version": outcome.last_version,
                "position": f"{outcome.partition}:{outcome.offset}",
                "recorded_time": format_instant(outcome.recorded_time),
                "duplicate": outcome.duplicate,
            }
        )
        return
    said = "was there already" if outcome.duplicate else "appended"
    console().print(f"{said}: {stream} is at version {outcome.last_version}", markup=False)


def history(
    stream: Annotated[str | None, typer.Argument(help="The stream, such as aircraft-N14228.")] = None,
    category: Annotated[
        str | None, typer.Option(help="All streams of a category instead, as they were recorded.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All streams instead, as they were recorded.")] = False,
    first: Annotated[str, typer.Option("--from", help="First version, or first recorded instant.")] = "1",
    last: Annotated[int | None, typer.Option("--to", min=1, help="Last version.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many events.")] = None,
    backward: Annotated[bool, typer.Option("--backward", help="The newest first.")] = False,
    types: Annotated[
        list[str] | None,
        typer.Option("--type", help="Only this type; account.* is all that begin so. Repeat for more."),
    ] = None,
    streams: Annotated[
        list[str] | None,
        typer.Option("--stream", help="Of many streams only this one, or those that begin so: plane-N1*."),
    ] = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    deleted: Annotated[bool, typer.Option("--deleted", help="Also a stream that was deleted.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what comes, until Ctrl-C.")] = False,
    versions: Annotated[
        bool, typer.Option("--versions", help="Who wrote each version, when, and because of what.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the events of a stream, of a category or of all streams. With --json each is a CloudEvent on a line."""
    if [stream is not None, category is not None, every].count(True) != 1:
        raise usage(Invalid("name a stream, or say --category NAME or --all"))
    if versions and (follow or as_json):
        raise usage(Invalid("--versions is a table: leave out --follow and --json, whose lines have all of it"))
    version, recorded_from = _first(first)
    query = ReadQuery(
        from_version=version,
        to_version=last,
        limit=limit,
        backward=backward,
        types=frozenset(types or ()),
        streams=frozenset(streams or ()),
        as_of=instant(as_of, "--as-of"),
        known_at=instant(known_at, "--known-at"),
        recorded_from=recorded_from,
        deleted=deleted,
    )
    of = _Of(stream, category)
    if follow:
        call(lambda client: _follow(client, of, query, as_json))
    elif as_json:
        call(lambda client: _lines(client, of, query))
    else:
        _show(of, query, versions)


class _Of(NamedTuple):
    stream: str | None
    category: str | None

    @property
    def title(self) -> str:
        return self.stream or (f"category {self.category}" if self.category else "all streams")

    def read(self, client: Client, query: ReadQuery) -> AsyncIterator[Event[bytes]]:
        if self.stream is None:
            return client.streams.read_category(self.category, query)
        return client.streams.read(self.stream, query)

    def follow(self, client: Client, query: ReadQuery) -> AsyncGenerator[Followed, None]:
        if self.stream is None:
            return client.streams.subscribe_category(self.category, query=query)
        return client.streams.subscribe(self.stream, query=query)


def _first(text: str) -> tuple[int, datetime | None]:
    try:
        if text.isascii() and text.isdigit():
            return check_version(int(text[:40]), "--from"), None
        return 1, utc_now() if text == "now" else parse_instant(text)
    except NervError as error:
        raise usage(Invalid(f"--from is a version or an instant: {error.detail}")) from None


async def _lines(client: Client, of: _Of, query: ReadQuery) -> None:
    async for event in of.read(client, query):
        say_bytes(to_json_line(event))


async def _follow(client: Client, of: _Of, query: ReadQuery, as_json: bool) -> None:
    out = console()
    async with aclosing(of.follow(client, query)) as subscription:
        async for followed in subscription:
            if as_json:
                say_bytes(to_json_line(followed.event))
            else:
                out.print(line(followed.event), soft_wrap=True)


def _show(of: _Of, query: ReadQuery, versions: bool) -> None:
    bounded = query if query.limit is not None else replace(query, limit=SHOWN + 1)

    async def work(client: Client) -> list[Event[bytes]]:
        return [event async for event in of.read(client, bounded)]

    events = call(work)
    more = query.limit is None and len(events) > SHOWN
    events = events[:SHOWN] if more else events
    row = version_row if versions else event_row
    title = f"{of.title}: {'the first ' if more else ''}{len(events)} event{'' if len(events) == 1 else 's'}"
    console().print(table(title, [row(event, named=of.stream is None) for event in events]))
    if more:
        console().print("There are more: say --limit, --from or --backward, or --json for all of them.")
