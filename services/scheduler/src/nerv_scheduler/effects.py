# SPDX-License-Identifier: Apache-2.0
"""Effects of a result: written down with it as plain data, performed afterwards, each under its own id.

Each is performed at least once, and seen once as far as its target deduplicates: history by event id, for ever; a run by
its id, for ever; a topic within the time for which *broker* keeps its receipts; an outside system as far as it looks at the
`Idempotency-Key`, which is the effect's id.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import aiohttp
import orjson

from nerv.app import App
from nerv.client import Client
from nerv.cloudevents.json_format import from_mapping, to_structured
from nerv.effects import Append, Http, MeshEffect, Publish, Run
from nerv.effects.identity import performing
from nerv.effects.standard import check_door, http_handler
from nerv.errors import Conflict, Misconfigured, NervError, NotFound
from nerv.model import EventModel
from nerv.protocols import AppendRequest, Clock, History
from nerv.telemetry import carrier
from nerv.telemetry.traffic import saw
from nerv.types import EffectType, Event
from nerv.types.streams import category_of
from nerv.workflows import Cause, PermanentError
from nerv.workflows.drawing import plain
from nerv_scheduler.events import event_id

REMEMBERED = timedelta(hours=23)  # the broker keeps its receipts for a day


class Starter(Protocol):
    """Starts runs."""

    async def start(self, workflow: str, run_input: Mapping[str, Any], run: str, *, cause: Cause | None = None) -> Any:
        """Start a run, unless it was started (see `nerv_scheduler.runs.Starter`)."""
        ...


def write_down(
    app: App,
    run: str,
    effects: Sequence[MeshEffect],
    ids: Sequence[str],
    now: datetime,
    *,
    outside: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """The effects as JSON, to be recorded with the result. `outside` are the URLs under which systems may be called.

    Raises PermanentError for one that can never be performed.
    """
    try:
        return [_written(app, run, effect, i, now, outside) for effect, i in zip(effects, ids, strict=True)]
    except NervError as error:
        raise PermanentError(str(error)) from None


def _written(
    app: App, run: str, effect: MeshEffect, effect_id: str, now: datetime, outside: Sequence[str]
) -> dict[str, Any]:
    document: dict[str, Any] = {"id": effect_id, "kind": str(effect.kind)}
    if isinstance(effect, Append):
        return document | {"stream": effect.stream, "event": _event(app, run, effect.event, effect_id, now, None)}
    if isinstance(effect, Publish):
        spec = app.events[app.type_of(effect.event)]
        topic = effect.topic or spec.topic
        if topic is None:
            raise Misconfigured(f"event {spec.type} has no topic; declare one, or publish(..., topic=...)")
        key = effect.key or (getattr(effect.event, spec.key) if spec.key else None)
        made = _event(app, run, effect.event, effect_id, now, None if key is None else str(key))
        return document | {"topic": topic, "event": made}
    if isinstance(effect, Run):
        if effect.workflow not in app.workflows:
            raise NotFound(f"there is no workflow {effect.workflow}")
        return document | {"workflow": effect.workflow, "input": plain(effect.arguments, "the input"), "by": run}
    check_door(effect.url, outside, "NERV_SCHEDULER__HTTP_ALLOW")
    return document | {"method": effect.method, "url": effect.url, "body": plain(effect.body, "the body")}


def _event(app: App, run: str, model: EventModel, effect_id: str, now: datetime, key: str | None) -> dict[str, Any]:
    event = Event(
        effect_id,
        app.name,
        app.type_of(model),
        now,
        model.model_dump_json().encode(),
        correlation_id=run,
        partition_key=key or None,
    )
    document: dict[str, Any] = orjson.loads(orjson.dumps(to_structured(event)))
    return document


class Performer:
    """Performs what was written down. Doing it again does nothing new, as far as the target deduplicates."""

    def __init__(
        self, history: History, client: Client, starter: Starter, clock: Clock, outside: Sequence[str] = ()
    ) -> None:
        self._history = history
        self._client = client
        self._starter = starter
        self._clock = clock
        self._outside = outside

    async def perform(self, effects: Sequence[Mapping[str, Any]], performed: int = 0) -> tuple[int, NervError | None]:
        """Perform these in order, after those that are `performed`. Answers how many are then, and what the next one met."""
        for number in range(performed, len(effects)):
            try:
                await self._perform(effects[number])
            except NervError as error:
                return number, error
            saw("service:scheduler", _end(effects[number]), 1)
        return len(effects), None

    async def _perform(self, effect: Mapping[str, Any]) -> None:
        kind = effect["kind"]
        if kind == EffectType.APPEND:
            [outcome] = await self._history.append([AppendRequest(effect["stream"], [_read(effect["event"])])])
            if isinstance(outcome, NervError):
                raise outcome
        elif kind == EffectType.PUBLISH:
            await self._publish(effect["topic"], _read(effect["event"]))
        elif kind == EffectType.RUN:
            run = effect["by"]
            cause = Cause(event_id(run, "submitted"), run)
            await self._starter.start(effect["workflow"], effect["input"], effect["id"], cause=cause)
        elif kind == EffectType.HTTP:
            await self._call(effect)
        else:
            raise Misconfigured(f"history holds an effect of kind {kind!r}, which this version does not know")

    async def _publish(self, topic: str, event: Event[bytes]) -> None:
        """Once, as long as the broker remembers what it has published. Later nobody can tell, and so a person decides."""
        if self._clock.now() - event.time > REMEMBERED:
            raise Conflict(
                f"event {event.id} for topic {topic} has been owed for longer than the broker remembers what it has published; "
                "see whether the topic holds that id, and restart the step if it does not: that publishes under a new id"
            )
        await self._client.topics.publish(topic, [event])

    async def _call(self, effect: Mapping[str, Any]) -> None:
        """Rare enough to have a connection of its own each time."""
        async with aiohttp.ClientSession() as session:
            call = http_handler(session, self._outside)
            with performing(effect["id"]):
                await call(Http(effect["method"], effect["url"], effect["body"]))


def _end(effect: Mapping[str, Any]) -> str:
    """Where an effect leads, as `nerv topology` names it."""
    match effect["kind"]:
        case EffectType.APPEND:
            return f"category:{category_of(effect['stream'])}"
        case EffectType.PUBLISH:
            return f"topic:{effect['topic']}"
        case EffectType.RUN:
            return f"workflow:{effect['workflow']}"
    return f"effect:{effect['kind']}"


def _read(document: Mapping[str, Any]) -> Event[bytes]:
    """The event, in the trace of whoever performs it now."""
    context = carrier()
    traced = {"traceparent": context.traceparent, "tracestate": context.tracestate or None}
    return from_mapping({**document, **{name: value for name, value in traced.items() if value is not None}})
