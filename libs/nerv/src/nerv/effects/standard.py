# SPDX-License-Identifier: Apache-2.0
"""Handlers of the mesh's own kinds: in this process, and by the services."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
import structlog

from nerv.app import App
from nerv.bus import EventBus
from nerv.client import Client
from nerv.clock import SystemClock
from nerv.effects.handlers import Handlers
from nerv.effects.identity import effect_id
from nerv.effects.kinds import Append, Http, Log, Publish, ReadView, Run, Task, Timer
from nerv.errors import Forbidden, Misconfigured, NotFound, TooLarge, Unavailable, UnknownOutcome
from nerv.model import EventModel
from nerv.protocols import Appended, AppendRequest, Clock, History
from nerv.types import Event, new_event_id

log = structlog.get_logger("nerv.effects")

HTTP_SECONDS = 30.0  # for one call, redirects excluded: there are none
HTTP_BYTES = 1024 * 1024  # of an answer


def local_handlers(
    app: App,
    *,
    history: History,
    bus: EventBus,
    views: Callable[[ReadView], Awaitable[Any]] | None = None,
    clock: Clock | None = None,
) -> Handlers:
    """All in this process: append to `history`, publish on `bus` (as the app's models), call the app's tasks.

    `views` answers what is read; without it nobody does. Nothing reaches out: `Http` and `Run` have no handler.
    """
    stamps = clock or SystemClock()
    handlers = _shared(app, history, stamps)

    async def publish(effect: Publish) -> None:
        made = _event(app, effect.event, stamps)
        await bus.publish(Event(made.id, made.source, made.type, made.time, effect.event, partition_key=effect.key))

    handlers.on(Publish, publish)
    if views is not None:
        handlers.on(ReadView, views)
    return handlers


def mesh_handlers(app: App, client: Client, *, clock: Clock | None = None) -> Handlers:
    """By the services that `client` knows. `Http` has no handler: add `http_handler` with what may be called."""
    stamps = clock or SystemClock()
    handlers = _shared(app, client.streams, stamps)

    async def publish(effect: Publish) -> None:
        event = _event(app, effect.event, stamps)
        topic = effect.topic or app.events[event.type].topic
        if topic is None:
            raise Misconfigured(f"event {event.type} has no topic; declare one, or publish(..., topic=...)")
        await client.topics.publish(topic, [event])

    async def run(effect: Run) -> str:
        started = await client.workflows.start(effect.workflow, effect.arguments, run=new_event_id())
        return str(started["run"])

    async def read(effect: ReadView) -> Any:
        try:
            return (await client.views.get(effect.projection, effect.key, perspective=effect.perspective))["state"]
        except NotFound:
            return None

    return handlers.on(Publish, publish).on(Run, run).on(ReadView, read)


def http_handler(session: aiohttp.ClientSession, allowed: Sequence[str]) -> Callable[[Http], Awaitable[Any]]:
    """A handler of `Http` that calls only what begins with one of `allowed` (rule 22): scheme, host and port, as in
    `https://api.example.org`. No redirects, at most 30 s and 1 MiB. The answer is its JSON, or None. The effect's id goes along
    as `Idempotency-Key`; without one a new id.

    Raises Forbidden for another host or a refusal, Unavailable for a status of 429 or 503, NotFound for 404, UnknownOutcome
    for another 5xx or when the call broke off.
    """

    async def call(effect: Http) -> Any:
        check_door(effect.url, allowed, "the list of what may be called")
        limit = aiohttp.ClientTimeout(total=HTTP_SECONDS)
        headers = {"Idempotency-Key": effect_id() or new_event_id()}
        try:
            async with session.request(
                effect.method, effect.url, json=effect.body, headers=headers, timeout=limit, allow_redirects=False
            ) as answer:
                body = await _body(effect, answer)
                found = orjson.loads(body) if body and answer.content_type == "application/json" else None
                return _answer(effect, answer.status, found)
        except orjson.JSONDecodeError as error:
            raise UnknownOutcome(f"{effect.target} answered what is no JSON: {error}; it may have happened") from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnknownOutcome(f"{effect.target} broke off: {error!r}; it may have happened") from None

    return call


def check_door(url: str, allowed: Sequence[str], where: str) -> None:
    """Raises Forbidden unless scheme, host and port of `url` are those of one of `allowed`; `where` is where these are listed."""
    doors = {_door(one) for one in allowed}
    if _door(url) not in doors:
        listed = ", ".join(sorted(map("://".join, doors))) or "nothing"
        raise Forbidden(f"{url} is not among what may be called; {where} has {listed}")


def _shared(app: App, history: History, clock: Clock) -> Handlers:
    async def append(effects: Sequence[Append]) -> Sequence[Appended | Exception]:
        requests = [AppendRequest(e.stream, [_event(app, e.event, clock)]) for e in effects]
        return await history.append(requests)

    async def task(effect: Task) -> Any:
        spec = app.tasks.get(effect.name)
        if spec is None:
            raise NotFound(f"app {app.name} has no task {effect.name!r}; it has {', '.join(app.tasks) or 'none'}")
        async with asyncio.timeout(spec.timeout):
            if inspect.iscoroutinefunction(spec.function):
                return await spec.function(**effect.arguments)
            return await asyncio.to_thread(spec.function, **effect.arguments)

    async def timer(effect: Timer) -> Any:
        await asyncio.sleep(effect.seconds)
        return clock.now()

    def line(effect: Log) -> None:
        getattr(log, effect.level)(effect.event, **effect.fields)

    return Handlers("standard").on_batch(Append, append).on(Task, task).on(Timer, timer).on(Log, line)


def _event(app: App, model: EventModel, clock: Clock) -> Event[bytes]:
    # The id is made once for each call of a handler: whoever carries it repeats it as it is.
    return Event(new_event_id(), app.name, app.type_of(model), clock.now(), model.model_dump_json().encode())


def _door(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


async def _body(effect: Http, answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > HTTP_BYTES:
            raise TooLarge(f"{effect.target} answered more than {HTTP_BYTES} bytes")
    return bytes(body)


def _answer(effect: Http, status: int, found: Any) -> Any:
    if status in (429, 503):
        raise Unavailable(f"{effect.target} answered {status}", retry_after=1.0)
    if status == 404:
        raise NotFound(f"{effect.target} answered 404")
    if status >= 500:
        raise UnknownOutcome(f"{effect.target} answered {status}; it may have happened")
    if status >= 300:
        raise Forbidden(f"{effect.target} answered {status}")
    return found
