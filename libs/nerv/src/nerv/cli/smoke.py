# SPDX-License-Identifier: Apache-2.0
"""`nerv smoke`: whether a mesh works, by writing to it. `helm test` runs it in a pod."""

import asyncio
import time
from collections.abc import Awaitable
from contextlib import suppress
from typing import Annotated, Any

import typer

from nerv.cli.calling import AsJson, call, console, say_json, usage
from nerv.cli.show import table
from nerv.client import Client
from nerv.errors import Invalid, NervError, NotFound, Unavailable
from nerv.protocols import Appended, AppendRequest, Expected, ReadQuery
from nerv.types import Event, check_id, new_event_id, utc_now

STREAM = "smoke"  # all runs share it, so that history gets no stream for each
EVENT_TYPE = "nerv.smoke.v1"  # no app declares it: nothing reacts to it, nothing folds it
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0

Step = dict[str, Any]


def smoke(
    topic: Annotated[str | None, typer.Option(help="Publish an event of the app's here, too.")] = None,
    event_type: Annotated[str | None, typer.Option("--type", help="With --topic: the event's type.")] = None,
    data: Annotated[str, typer.Option(help="With --topic: the event's data as JSON.")] = "{}",
    subject: Annotated[str | None, typer.Option(help="With --topic: what it is about.")] = None,
    projection: Annotated[str | None, typer.Option(help="With --topic: the projection that folds it.")] = None,
    key: Annotated[str | None, typer.Option(help="With --projection: the view that has one event more then.")] = None,
    seconds: Annotated[float, typer.Option(min=1.0, help="For all of it.")] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Try a mesh: append a neutral event and read it back; publish one of the app's and find it in a view.

    The neutral event goes to the stream `smoke`. The app's is as real as any: choose one that does no harm.
    """
    if (topic is None) != (event_type is None) or (projection is None) != (key is None):
        raise usage(Invalid("--topic goes with --type, --projection with --key"))
    if projection is not None and topic is None:
        raise usage(Invalid("--projection needs --topic and --type: what is to be found there?"))
    try:
        event = None if event_type is None else _event(event_type, data, subject)
    except NervError as error:
        raise usage(error) from None

    async def work(client: Client) -> list[Step]:
        deadline = time.monotonic() + seconds
        steps = [await _timed("append and read back", _history(client, deadline))]
        if topic is not None and event is not None:
            view = None if projection is None or key is None else (projection, key)
            before = 0 if view is None else await _version(client, *view)
            steps.append(await _timed(f"publish to {topic}", _published(client, topic, event, deadline)))
            if view is not None:
                steps.append(await _timed(f"find it in {projection}", _found(client, *view, before, deadline)))
        return steps

    steps = call(work)
    if as_json:
        say_json({"steps": steps})
    else:
        console().print(table("the mesh works", steps))


def _event(event_type: str, data: str, subject: str | None = None) -> Event[bytes]:
    kind = check_id(event_type, "--type")
    return Event(new_event_id(), "nerv-smoke", kind, utc_now(), data.encode(), subject=subject)


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.1)


async def _timed(step: str, doing: Awaitable[str]) -> Step:
    began = time.monotonic()
    return {"step": step, "where": await doing, "seconds": round(time.monotonic() - began, 3)}


async def _history(client: Client, deadline: float) -> str:
    event = _event(EVENT_TYPE, "{}")
    request = AppendRequest(STREAM, [event], Expected.parse("any"))
    [outcome] = await client.streams.append([request], seconds=_left(deadline))
    if not isinstance(outcome, Appended):
        raise outcome
    version = outcome.last_version
    read = [one async for one in client.streams.read(STREAM, ReadQuery(from_version=version, to_version=version))]
    if [one.id for one in read] != [event.id]:
        raise NotFound(f"{event.id} was appended to {STREAM} as version {version}, and cannot be read there")
    return f"{STREAM}@{version}"


async def _published(client: Client, topic: str, event: Event[bytes], deadline: float) -> str:
    [placed] = await client.topics.publish(topic, [event], seconds=_left(deadline))
    if placed.dropped is not None or placed.deadletter is not None:
        raise Invalid(f"the event was not published: {placed.detail or f'{placed.dropped}, a middleware, dropped it'}")
    return f"{placed.partition}:{placed.offset}"


async def _version(client: Client, projection: str, key: str) -> int:
    """How many events are folded into a view by now; 0 where there is none."""
    with suppress(NotFound):
        return int((await client.views.get(projection, key))["version"])
    return 0


async def _found(client: Client, projection: str, key: str, before: int, deadline: float) -> str:
    pause = FIRST_PAUSE
    while (version := await _version(client, projection, key)) <= before:
        if time.monotonic() + pause > deadline:
            raise Unavailable(
                f"the view {key} of {projection} still has {before} events: does the app fold this type under this key?"
                " `nerv projections list` tells the lag"
            )
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    return f"{key}@{version}"
