# SPDX-License-Identifier: Apache-2.0
"""What every command shares: a client, exit codes that tell what happened, and answers for people or machines."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import orjson
import typer
from rich.console import Console

from nerv.client import Client
from nerv.errors import Misconfigured, NervError, UnknownOutcome
from nerv.types import parse_instant, utc_now

R = TypeVar("R")

AsJson = Annotated[bool, typer.Option("--json", help="For machines: JSON on standard output.")]
AsOf = Annotated[
    str | None,
    typer.Option(help="Valid time: what had happened by then. An instant such as 2013-01-15T12:00Z, or now."),
]
KnownAt = Annotated[str | None, typer.Option(help="Recorded time: what the mesh knew by then. An instant, or now.")]

DONE, REFUSED, USAGE, UNKNOWN = 0, 1, 2, 3


def call(work: Callable[[Client], Awaitable[R]]) -> R:
    """Run `work` with a client of the mesh. An error of ours ends the command with its text and its exit code."""

    async def run() -> R:
        async with Client(token=_token()) as client:
            return await work(client)

    try:
        return asyncio.run(run())
    except NervError as error:
        raise fail(error) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _token() -> str | None:
    path = os.environ.get("NERV_CLIENT__TOKEN_FILE")
    return Path(path).read_text(encoding="utf-8").strip() if path else None


def fail(error: NervError) -> typer.Exit:
    """Say what went wrong on standard error, and with which code to end."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"{error.title}: {error.detail}", style="bold red", markup=False)
    for fault in error.errors[:10]:
        for line in _lines(fault):
            console.print(line, markup=False)
    if len(error.errors) > 10:
        console.print(f"  and {len(error.errors) - 10} more")
    return typer.Exit(exit_code(error))


def _lines(fault: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with one thing; where there is more to say of it than `detail` does, a line for each of that."""
    inner = fault.get("errors") or ()
    said = {name: value for name, value in fault.items() if value is not None and name != "errors"}
    if inner:
        said.pop("detail", None)
    yield "  " + ", ".join(f"{name}: {value}" for name, value in said.items())
    for one in inner:
        yield "    " + ", ".join(f"{name}: {value}" for name, value in one.items())


def exit_code(error: NervError) -> int:
    """What the code says: refused or not reached, wrong use, or unknown."""
    if isinstance(error, UnknownOutcome):
        return UNKNOWN
    return USAGE if isinstance(error, Misconfigured) else REFUSED


def usage(error: NervError) -> typer.Exit:
    """An argument is wrong: nothing was sent."""
    Console(stderr=True, soft_wrap=True).print(str(error), style="bold red", markup=False)
    return typer.Exit(USAGE)


def instant(text: str | None, option: str) -> datetime | None:
    """An instant of the command line, or None. Ends the command when it is none."""
    return None if text is None else moment(text, option)


def moment(text: str, option: str) -> datetime:
    """An instant of the command line. Ends the command when it is none."""
    if text == "now":
        return utc_now()
    try:
        return parse_instant(text, option)
    except NervError as error:
        raise usage(error) from None


def say_json(document: Any) -> None:
    """One document on one line."""
    say_bytes(orjson.dumps(document, default=str))


def say_bytes(line: bytes) -> None:
    """One line."""
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def console() -> Console:
    """Where answers for people go. Wide ones wrap instead of losing their ends."""
    return Console(highlight=False)
