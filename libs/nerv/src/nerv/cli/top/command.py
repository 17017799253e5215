# SPDX-License-Identifier: Apache-2.0
"""`nerv top`."""

import asyncio
import sys
from typing import Annotated

import typer
from rich.live import Live

from nerv.cli.calling import AsJson, call, console, say_json
from nerv.cli.top.frame import Shown, frame, screen_of
from nerv.cli.top.keys import pressed
from nerv.cli.top.seeing import Sight, look
from nerv.client import Client
from nerv.errors import Unavailable

UNBOUNDED = 500  # lines of a frame that is printed once


def top(
    once: Annotated[bool, typer.Option("--once", help="Print one frame, and end.")] = False,
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 1.0,
    as_json: AsJson = False,
) -> None:
    """The mesh while it runs: replicas, what goes through them, who is behind, who owns what, which workflows run.

    q ends it, s sorts the replicas, tab shows another page (replicas, lags, runs, owners, ways), arrows scroll. Where
    standard output is no terminal, one frame is printed.
    """
    if as_json:
        say_json(call(_seen).to_dict())
    elif once or not (sys.stdout.isatty() and sys.stdin.isatty()):
        console().print(frame(call(_seen), Shown(), UNBOUNDED))
    else:
        call(lambda client: _live(client, interval))


async def _seen(client: Client) -> Sight:
    """What there is. Raises Unavailable where nothing answers at all."""
    sight = await look(client)
    if not any("process" in row for row in sight.replicas):
        raise Unavailable("; ".join(sight.faults) or "no replica is alive")
    return sight


async def _live(client: Client, interval: float) -> None:
    screen = console()
    shown, sight = Shown(), await _seen(client)
    with pressed(sys.stdin.fileno()) as keys, Live(console=screen, screen=True, auto_refresh=False) as live:
        looking: asyncio.Task[Sight] | None = None
        key = asyncio.ensure_future(keys.get())
        due = asyncio.ensure_future(asyncio.sleep(interval))
        try:
            while True:
                live.update(screen_of(sight, shown, screen.size.height), refresh=True)
                waited = {key, looking or due}
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                if key.done():
                    if key.result() == "q":
                        return
                    shown, key = shown.pressed(key.result()), asyncio.ensure_future(keys.get())
                if looking is not None and looking.done():
                    sight, looking, due = looking.result(), None, asyncio.ensure_future(asyncio.sleep(interval))
                elif looking is None and due.done():
                    looking = asyncio.ensure_future(look(client, sight))
        finally:
            for task in (key, due, looking):
                if task is not None:
                    task.cancel()
