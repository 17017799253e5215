# SPDX-License-Identifier: Apache-2.0
"""`nerv top`."""

import asyncio
import sys
from typing import Annotated, Any

import typer
from rich.live import Live

from nerv.cli.calling import AsJson, call, console, say_json
from nerv.cli.top.frame import Shown, frame, screen_of
from nerv.cli.top.keys import pressed
from nerv.cli.top.seeing import Looking, Sight, look
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
    return _something(await look(client))


def _something(sight: Sight) -> Sight:
    if not sight.answers:
        why = next((row["status"] for row in sight.replicas), next(iter(sight.faults), "no replica is alive"))
        raise Unavailable(f"no service answers: {why}; `nerv status` tells of each of them")
    return sight


async def _live(client: Client, interval: float) -> None:
    screen, shown = console(), Shown()
    async with Looking(client, interval) as looking:
        with screen.status("looking at the mesh"):
            await looking.replicas_seen()
        _something(looking.sight())
        with pressed(sys.stdin.fileno()) as keys, Live(console=screen, screen=True, auto_refresh=False) as live:
            key = asyncio.ensure_future(keys.get())
            while not key.done() or key.result() != "q":
                if key.done():
                    shown, key = shown.pressed(key.result()), asyncio.ensure_future(keys.get())
                live.update(screen_of(looking.sight(), shown, screen.size.height), refresh=True)
                await _either(key, looking.changed, interval)


async def _either(key: "asyncio.Future[str]", changed: asyncio.Event, seconds: float) -> None:
    """Until a key is pressed, something new was seen, or the clock has moved."""
    changed.clear()
    new = asyncio.ensure_future(changed.wait())
    waited: set[asyncio.Future[Any]] = {key, new}
    await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    new.cancel()
