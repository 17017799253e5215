# SPDX-License-Identifier: Apache-2.0
"""`nerv append`, `nerv history` and `nerv state`."""

from typing import Annotated, Any

import orjson
import typer

from nerv.cli.calling import AsJson, AsOf, KnownAt, call, console, fail, instant, say_json, usage
from nerv.cli.show import table, tree
from nerv.client import Client
from nerv.cloudevents.json_format import to_structured
from nerv.errors import NervError
from nerv.protocols import Appended, AppendRequest, Expected, ReadQuery
from nerv.types import Event, check_id, format_instant, new_event_id, parse_instant, utc_now

Stream = Annotated[str, typer.Argument(help="The stream, such as aircraft-N14228.")]


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
    stream: Stream,
    first: Annotated[int, typer.Option("--from", min=1, help="First version.")] = 1,
    last: Annotated[int | None, typer.Option("--to", min=1, help="Last version.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many events.")] = None,
    backward: Annotated[bool, typer.Option("--backward", help="The newest first.")] = False,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    as_json: AsJson = False,
) -> None:
    """Print the events of a stream. With --json each is a CloudEvent on a line."""
    query = ReadQuery(
        from_version=first,
        to_version=last,
        limit=limit,
        backward=backward,
        as_of=instant(as_of, "--as-of"),
        known_at=instant(known_at, "--known-at"),
    )

    async def work(client: Client) -> list[Event[bytes]]:
        if as_json:
            async for event in client.streams.read(stream, query):
                say_json(to_structured(event))
            return []
        return [event async for event in client.streams.read(stream, query)]

    events = call(work)
    if not as_json:
        console().print(table(f"{stream}: {len(events)} events", [_row(event) for event in events]))


def _row(event: Event[bytes]) -> dict[str, Any]:
    try:
        data = orjson.loads(event.data) if event.data else None
    except orjson.JSONDecodeError:
        data = f"{len(event.data)} bytes"
    when = event.time.strftime("%Y-%m-%d %H:%M:%S")
    return {"version": event.sequence, "happened": when, "type": event.type, "data": data}


def state(
    stream: Stream,
    version: Annotated[int | None, typer.Option(min=0, help="As of this version.")] = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    projection: Annotated[
        str | None, typer.Option(help="Which projection folds it; by default the one of the stream's category.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The state of a stream, folded from its history."""
    happened, known = instant(as_of, "--as-of"), instant(known_at, "--known-at")
    found = call(
        lambda client: client.streams.state(
            stream, projection=projection, version=version, as_of=happened, known_at=known
        )
    )
    if as_json:
        say_json(found)
        return
    bounds = ", ".join(f"{name} {found[name]}" for name in ("as_of", "known_at") if found[name])
    title = f"{stream} at version {found['version']}" + (f" ({bounds})" if bounds else "")
    if found["state"] is None:
        console().print(f"{title}: nothing had happened yet", markup=False)
    else:
        console().print(tree(title, found["state"]))
