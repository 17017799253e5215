# SPDX-License-Identifier: Apache-2.0
"""`nerv publish` and `nerv consume`."""

import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TextIO

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from nerv.cli.bare import SIGNS, Format, messages, record, unescaped
from nerv.cli.calling import AsJson, call, console, say_json, usage
from nerv.cli.choosing import Subjects, Types, Where
from nerv.cli.show import cell
from nerv.client import Client
from nerv.client.topics import Consumed, Published, Record, Wanted
from nerv.cloudevents.json_format import from_structured, to_structured
from nerv.errors import Invalid, NervError
from nerv.types import Event, check_id, new_event_id, parse_instant, utc_now

BATCH = 500
BARE_BYTES = 600_000  # of records in one request: base64 makes a third more of them, and a body has at most 1 MiB


def publish(
    topic: Annotated[str, typer.Argument(help="The topic, such as flights.flight.v1.")],
    data: Annotated[str | None, typer.Argument(help="The event's data as JSON, with --type.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="CloudEvents as JSON, one a line; - is standard input.")
    ] = None,
    event_type: Annotated[str | None, typer.Option("--type", help="The event's type.")] = None,
    source: Annotated[str, typer.Option(help="Who says it.")] = "nerv-cli",
    subject: Annotated[str | None, typer.Option(help="What it is about; the key where the app declares none.")] = None,
    event_id: Annotated[str | None, typer.Option("--id", help="The event's id; a new one by default.")] = None,
    time: Annotated[str | None, typer.Option(help="When it happened; now by default.")] = None,
    once: Annotated[
        bool, typer.Option("--once/--at-least-once", help="Write nothing that the topic has already, by source and id.")
    ] = True,
    bare: Annotated[
        bool, typer.Option("--bare", help="Bare records instead of events: standard input or --file, a message a line.")
    ] = False,
    key: Annotated[str | None, typer.Option("--key", "-k", help="With --bare: the key of all.")] = None,
    key_delimiter: Annotated[
        str | None, typer.Option("--key-delimiter", "-K", help="With --bare: what is between key and value.")
    ] = None,
    headers: Annotated[
        list[str] | None, typer.Option("--header", "-H", help="With --bare: name=value, of all. Repeatable.")
    ] = None,
    partition: Annotated[int | None, typer.Option("--partition", "-p", help="With --bare: where all go.")] = None,
    delimiter: Annotated[str, typer.Option("--delimiter", "-D", help="With --bare: what is between messages.")] = "\\n",
    as_json: AsJson = False,
) -> None:
    """Publish one event, or many from a file; done when Kafka has acknowledged them.

    A file that was broken off can be published again as it is: what the topic has by source and id is not written twice.

    With --bare what is read is written as it is, to topics that no app declares, at least once:
    `cut -d, -f1,2 file | nerv publish my.topic --bare -K ,`.
    """
    if bare:
        _publish_bare(topic, file, (key, key_delimiter, headers or [], partition), delimiter, as_json)
        return
    if (data is None) == (file is None):
        raise usage(Invalid("give the data of one event, or --file with many"))
    if file is None and event_type is None:
        raise usage(Invalid("say what kind of event it is: --type TYPE; `nerv describe` lists the types of the app"))
    if file is not None:
        _publish_file(topic, file, once, as_json)
        return
    try:
        event = Event(
            check_id(event_id or new_event_id(), "--id"),
            check_id(source, "--source"),
            check_id(event_type, "--type"),
            parse_instant(time, "--time") if time else utc_now(),
            (data or "").encode(),
            subject=subject,
        )
    except NervError as error:
        raise usage(error) from None
    [placed] = call(lambda client: client.topics.publish(topic, [event], once=once))
    if as_json:
        say_json({name: told for name, told in asdict(placed).items() if told is not None})
    elif placed.dropped is not None:
        console().print(f"{placed.id} was dropped by {placed.dropped}, a middleware of the app", markup=False)
    elif placed.deadletter is not None:
        console().print(
            f"{placed.id} is a dead letter, {placed.deadletter} of door:{topic}: {placed.detail}", markup=False
        )
    else:
        said = "was already" if placed.duplicate else "published"
        console().print(f"{said} {placed.id} at {topic} {placed.partition}:{placed.offset}", markup=False)


def _publish_file(topic: str, file: Path, once: bool, as_json: bool) -> None:
    try:
        stream: TextIO = sys.stdin if str(file) == "-" else file.open(encoding="utf-8")
    except OSError as error:
        raise usage(Invalid(f"cannot read {file}: {error.strerror}")) from None
    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} published"), TimeElapsedColumn())
    progress = Progress(*columns, console=console(), disable=as_json or not sys.stdout.isatty())

    async def work(client: Client) -> tuple[int, int, int]:
        count = letters = known = 0
        with progress:
            task = progress.add_task("publish")
            for batch in _batches(stream):
                placed: list[Published] = await client.topics.publish(topic, batch, once=once)
                letters += sum(one.deadletter is not None for one in placed)
                known += sum(one.duplicate and one.deadletter is None for one in placed)
                count += len(placed)
                progress.update(task, completed=count)
        return count - letters, letters, known

    with stream:
        count, letters, known = call(work)
    if as_json:
        more = {"deadletters": letters, "duplicates": known}
        say_json({"topic": topic, "published": count} | {name: many for name, many in more.items() if many})
        return
    console().print(
        f"published {count:,} events to {topic}" + (f"; {known:,} stood there before" if known else ""), markup=False
    )
    if letters:
        console().print(f"{letters:,} do not fit: nerv deadletters list door:{topic}", markup=False)


def _publish_bare(
    topic: str,
    file: Path | None,
    shape: tuple[str | None, str | None, list[str], int | None],
    delimiter: str,
    as_json: bool,
) -> None:
    key, key_delimiter, headers, partition = shape
    try:
        between = unescaped(delimiter, "--delimiter").encode()
        split = None if key_delimiter is None else unescaped(key_delimiter, "--key-delimiter").encode()
        named = [_header(text) for text in headers]
        stream: BinaryIO = sys.stdin.buffer if file is None or str(file) == "-" else file.open("rb")
    except OSError as error:
        raise usage(Invalid(f"cannot read {file}: {error.strerror}")) from None
    except NervError as error:
        raise usage(error) from None

    async def work(client: Client) -> int:
        count = 0
        for batch in _bounded(record(one, key, split, named, partition) for one in messages(stream, between)):
            count += len(await client.topics.publish_records(topic, batch))
        return count

    with stream:
        count = call(work)
    if as_json:
        say_json({"topic": topic, "published": count})
    else:
        console().print(f"published {count:,} records to {topic}", markup=False)


def _header(text: str) -> tuple[str, bytes]:
    name, separator, value = text.partition("=")
    if not separator:
        raise Invalid(f"--header takes name=value, not {text!r}")
    return name, value.encode()


def _bounded(records: Iterator[Record]) -> Iterator[list[Record]]:
    """So many as go into one request."""
    batch: list[Record] = []
    size = 0
    for one in records:
        length = len(one.key or b"") + len(one.value or b"") + sum(len(n) + len(v or b"") for n, v in one.headers)
        if batch and (len(batch) == BATCH or size + length > BARE_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += length + 100
    if batch:
        yield batch


def _batches(lines: TextIO) -> Iterator[list[Event[bytes]]]:
    numbered = ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
    while part := list(islice(numbered, BATCH)):
        yield [_event(number, line) for number, line in part]


def _event(number: int, line: str) -> Event[bytes]:
    try:
        return from_structured(line.encode())
    except NervError as error:
        raise type(error)(f"line {number}: {error.detail}") from None


def consume(
    topic: Annotated[str, typer.Argument(help="The topic.")],
    start: Annotated[
        str, typer.Option("--from", help="earliest, latest, positions such as 0:42,1:17 or 0:42,*, or an instant.")
    ] = "latest",
    to: Annotated[
        str | None, typer.Option("--to", help="End there: latest (as it is now), positions, or an instant.")
    ] = None,
    types: Types = None,
    subjects: Subjects = None,
    where: Where = None,
    rate: Annotated[float | None, typer.Option(help="At most so many events a second.")] = None,
    speed: Annotated[
        float | None, typer.Option(help="So many times as fast as they happened: 60 is a minute a second.")
    ] = None,
    most: Annotated[int | None, typer.Option("--max", min=1, help="End after so many events.")] = None,
    form: Annotated[
        str | None, typer.Option("--format", "-f", help=f"Records as kcat prints them, such as '%k %s\\n': {SIGNS}.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the events of a topic as they come, until Ctrl-C or --to. With --json each is a CloudEvent on a line."""
    wanted = Wanted(types or (), subjects or (), where, rate, speed)
    if form is not None:
        _consume_bare(topic, start, wanted, to, most, form)
        return

    async def work(client: Client) -> None:
        count = 0
        async for consumed in client.topics.consume(topic, start, wanted, to=to):
            _print(consumed, as_json)
            count += 1
            if count == most:
                return

    call(work)


def _consume_bare(topic: str, start: str, wanted: Wanted, to: str | None, most: int | None, form: str) -> None:
    try:
        line = Format(form).line
    except NervError as error:
        raise usage(error) from None

    async def work(client: Client) -> None:
        count = 0
        async for found in client.topics.records(topic, start, wanted, to=to):
            sys.stdout.buffer.write(line(topic, found))
            sys.stdout.buffer.flush()
            count += 1
            if count == most:
                return

    call(work)


def _print(consumed: Consumed, as_json: bool) -> None:
    event = consumed.event
    if as_json:
        say_json(to_structured(event))
        return
    line: list[Any] = [f"{consumed.partition}:{consumed.offset}", event.time.isoformat(timespec="seconds"), event.type]
    text = "  ".join(cell(part) for part in line)
    console().print(f"[dim]{text}[/dim]  {cell(event.data.decode('utf-8', 'replace'))}", soft_wrap=True)
