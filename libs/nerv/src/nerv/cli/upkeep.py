# SPDX-License-Identifier: Apache-2.0
"""`nerv history` and what keeps history well: verify, export, import, delete, reopen, tombstone."""

import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from typer import _click as click  # typer 0.29 carries its own click
from typer.core import TyperGroup

from nerv.app import find_app
from nerv.cli.calling import AsJson, call, console, fail, say_json, usage
from nerv.cli.history import Stream
from nerv.cli.history import history as read
from nerv.cli.setup import AppOption
from nerv.cli.show import table
from nerv.client import Client
from nerv.errors import Invalid, NervError
from nerv.history.archive import Checked
from nerv.history.moving import bring_in
from nerv.history.moving import export as export_to
from nerv.history.verify import Report, Verification
from nerv.protocols import Appended, AppendRequest, Expected
from nerv.types import Event, EventType, check_id, new_event_id, utc_now

SHOWN = 50  # faults in a table; --json has up to 1000

Category = Annotated[str | None, typer.Option(help="Only the streams of this category.")]


class Reading(TyperGroup):
    """A group whose command without a name is `read`: `nerv history aircraft-N14228`."""

    default = "read"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the name of the command where none is given."""
        named = bool(args) and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if named else [self.default, *args])


history = typer.Typer(
    cls=Reading,
    add_completion=False,
    help="Print the events of a stream, of a category or of all; and keep history well. A stream that is named like one of "
    "the commands is read by `nerv history read`.",
)
history.command("read")(read)


@history.command("verify")
def verify(app: AppOption = None, category: Category = None, as_json: AsJson = False) -> None:
    """Replay history through the upcasters, models and folds of an app, as it is here: before it is deployed.

    Reads the running mesh and changes nothing. Exit 1 when something fails: each event or state is named.
    """
    try:
        verification = Verification(find_app(app))
    except NervError as error:
        raise fail(error) from None
    with verification, VerifyBar(console(), shown=_watched(as_json)) as bar:
        report = call(lambda client: _verified(client, verification, category, bar))
    if as_json:
        say_json(asdict(report))
    else:
        _print(report)
    if report.failed:
        raise typer.Exit(1)


async def _verified(client: Client, verification: Verification, category: str | None, bar: "VerifyBar") -> Report:
    def reached(done: int, total: int) -> None:
        bar.reached(verification.report.events, done, total)

    async for event in client.streams.read_category(category, report=reached):
        verification.take(event)
    return verification.finish()


class VerifyBar:
    """A bar with the share that is verified, and the time left. How much there is, the first page of events tells."""

    def __init__(self, to: Console, *, shown: bool) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=to, disable=not shown)

    def __enter__(self) -> "VerifyBar":
        self._bar.start()
        self._task = self._bar.add_task("verifying", total=None)
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def reached(self, events: int, done: int, total: int) -> None:
        """So many events are verified; of the places of the log so many of all are passed."""
        self._bar.update(self._task, completed=done, total=total, description=f"{events:,} events verified")


def _print(report: Report) -> None:
    out = console()
    if report.faults:
        rows = [asdict(fault) for fault in report.faults[:SHOWN]]
        out.print(table(f"{report.failed:,} fail", rows))
    for kind, count in sorted(report.unread.items(), key=lambda item: -item[1]):
        out.print(f"{count:,} events of {kind}, which the app does not know: every fold passes them over", markup=False)
    verdict = f"{report.failed:,} fail" if report.failed else "all can be read and folded"
    out.print(f"{report.events:,} events, {report.folded:,} steps of folds: {verdict}", markup=False)


@history.command("export")
def export(
    file: Annotated[Path, typer.Argument(help="The archive, such as history.ndjson.zst.")],
    category: Category = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a file that was cut short.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write all events, as they are known now, into an archive (NDJSON in zstd), and check it by count and digest."""

    async def work(client: Client, show: Callable[[int], None]) -> Checked:
        return await export_to(client.streams, file, category=category, resume=resume, report=show)

    _say_archive(_moved(work, "exported", as_json), f"are in {file}", as_json)


@history.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="An archive that `nerv history export` wrote.")], as_json: AsJson = False
) -> None:
    """Append the events of an archive to their streams, with their ids and at their versions: to repeat it is harmless.

    The archive is checked first. One that is cut short is refused; a stream that holds other events is not touched.
    """

    async def work(client: Client, show: Callable[[int], None]) -> Checked:
        return await bring_in(client.streams, file, report=show)

    _say_archive(_moved(work, "imported", as_json), f"of {file} are in history", as_json)


def _moved(work: Callable[[Client, Callable[[int], None]], Awaitable[Checked]], what: str, as_json: bool) -> Checked:
    try:
        with _progress(as_json, what) as show:
            return call(lambda client: work(client, show))
    except OSError as error:
        raise usage(Invalid(f"{error.filename}: {error.strerror}")) from None


def _say_archive(checked: Checked, where: str, as_json: bool) -> None:
    if as_json:
        say_json({"events": checked.events, "digest": checked.digest, "known_at": checked.header.known_at})
    else:
        console().print(f"{checked.events:,} events {where}, digest {checked.digest[:16]}", markup=False)


def _watched(as_json: bool) -> bool:
    return not as_json and sys.stdout.isatty()


class _progress:
    """A line that counts, where somebody looks at it."""

    def __init__(self, as_json: bool, what: str) -> None:
        columns = (SpinnerColumn(), TextColumn(f"{{task.completed:,.0f}} events {what}"), TimeElapsedColumn())
        self._bar = Progress(*columns, console=console(), disable=not _watched(as_json))

    def __enter__(self) -> Callable[[int], None]:
        self._bar.start()
        task = self._bar.add_task("")
        return lambda done: self._bar.update(task, completed=done)

    def __exit__(self, *error: object) -> None:
        self._bar.stop()


Reason = Annotated[str, typer.Option(help="Why; it is recorded.")]
Version = Annotated[str, typer.Option(help="any, or the version the stream must be at.")]
MarkId = Annotated[
    str | None, typer.Option("--id", help="The event's id; a new one by default. Repeat with the same after exit 3.")
]


@history.command("delete")
def delete(
    stream: Stream, reason: Reason, expected_version: Version = "any", event_id: MarkId = None, as_json: AsJson = False
) -> None:
    """Delete a stream: it is gone to readers and writers, its history stays, and it can be reopened."""
    _mark(EventType.STREAM_DELETED, stream, reason, expected_version, event_id, as_json)


@history.command("reopen")
def reopen(
    stream: Stream, reason: Reason, expected_version: Version = "any", event_id: MarkId = None, as_json: AsJson = False
) -> None:
    """Reopen a stream that was deleted."""
    _mark(EventType.STREAM_REOPENED, stream, reason, expected_version, event_id, as_json)


@history.command("tombstone")
def tombstone(
    stream: Stream, reason: Reason, expected_version: Version = "any", event_id: MarkId = None, as_json: AsJson = False
) -> None:
    """Close a stream for ever: it is never written again. Its history stays."""
    _mark(EventType.STREAM_TOMBSTONED, stream, reason, expected_version, event_id, as_json)


def _mark(kind: EventType, stream: str, reason: str, expected: str, event_id: str | None, as_json: bool) -> None:
    try:
        data = orjson.dumps({"reason": reason})
        event = Event(check_id(event_id or new_event_id(), "--id"), "nerv-cli", kind, utc_now(), data)
        request = AppendRequest(check_id(stream, "stream"), [event], Expected.parse(expected))
    except NervError as error:
        raise usage(error) from None
    [outcome] = call(lambda client: client.streams.append([request]))
    if not isinstance(outcome, Appended):
        raise fail(outcome)
    said: dict[str, Any] = {"stream": stream, "id": event.id, "version": outcome.last_version, "mark": kind.value}
    if as_json:
        say_json(said)
    else:
        console().print(f"{kind.value}: {stream} is at version {outcome.last_version}", markup=False)
