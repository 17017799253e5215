# SPDX-License-Identifier: Apache-2.0
"""The decisions of the broker, pure: what a published event becomes on Kafka, and what a reaction asks for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from nerv.app import App, EventSpec, ReactionSpec
from nerv.app.declare import schema_mismatch
from nerv.app.messages import json_data
from nerv.app.specs import Reaction
from nerv.bus import Outcome, Passed
from nerv.effects import Append, Effect, Http, Publish, Run, effect_ids
from nerv.errors import Misconfigured, NervError, SchemaMismatch
from nerv.model import EventModel
from nerv.protocols import AppendRequest
from nerv.telemetry import Carrier
from nerv.types import Event
from nerv.types.frozen import frozen

JSON = "application/json"


@frozen
class Keyed:
    """An event, the topic it goes to and the key it goes under; None lets Kafka spread it. One that is `unfit` does not go there:
    it becomes a dead letter.
    """

    topic: str
    event: Event[bytes]
    key: bytes | None
    unfit: NervError | None = None


def keyed(
    passed: Sequence[Passed], app: App, hop: Carrier, kept: tuple[str, Sequence[Event[bytes]]] | None = None
) -> list[Keyed]:
    """What is left of one request's events behind the middleware, checked against the app and given their keys; `hop` is the
    trace context they go with.

    `kept`: the topic whose door keeps what does not fit, and the events as they were sent. Otherwise all or none: raises
    SchemaMismatch with index, id and cause of each that does not fit.
    """
    found: list[Keyed] = []
    faults: list[dict[str, Any]] = []
    traced = hop.traceparent is not None
    specs: dict[tuple[str, str, Outcome], EventSpec | None] = {}  # the events of a request are of few types
    for one in passed:
        event, key, error = one.event, None, one.error
        if event is not None:
            at = (event.type, one.topic, one.outcome)
            try:
                spec = specs[at] if at in specs else specs.setdefault(at, _spec(*at, app))
                key = _text_key(event) if spec is None else key_of(spec, _fitting(spec, event, app), event)
            except SchemaMismatch as mismatch:
                error = mismatch
        if error is not None and kept is not None:
            found.append(_unfit(kept[0], _traced(kept[1][one.index], hop), error))
        elif error is not None:
            faults.append(
                {"index": one.index, "id": event and event.id, "detail": error.detail, "errors": error.errors}
            )
        elif event is not None:
            found.append(Keyed(one.topic, _traced(event, hop) if traced else event, key))
    if faults:
        first = faults[0]
        raise SchemaMismatch(
            f"{len(faults)} of {len(passed)} events do not fit, nothing was published; "
            f"events[{first['index']}]: {first['detail']}",
            errors=faults,
        )
    return found


def _traced(event: Event[bytes], hop: Carrier) -> Event[bytes]:
    if hop.traceparent is None:
        return event
    return event.traced(*hop)


def _unfit(topic: str, sent: Event[bytes], error: NervError) -> Keyed:
    """For its letter an event goes under what its envelope says: the declared field may be what is wrong."""
    return Keyed(topic, sent, _text_key(sent), error)


def _spec(event_type: str, topic: str, outcome: Outcome, app: App) -> EventSpec | None:
    """What events of a type are on a topic; None for what nobody has declared. Raises SchemaMismatch where it does not belong."""
    spec = app.events.get(app.latest(event_type))
    if spec is None:
        if topic in app.all_topics():
            raise SchemaMismatch(f"app {app.name} declares {topic}, but no event type {event_type!r}")
        return None
    # Where the app itself routes an event to, it belongs.
    if spec.topic not in (None, topic) and outcome is not Outcome.ROUTED:
        raise SchemaMismatch(f"{event_type} belongs on {spec.topic}, not on {topic}")
    return spec


def _fitting(spec: EventSpec, event: Event[bytes], app: App) -> EventModel:
    """As `App.decode`, but the model, of which only the key is asked, is not told its envelope."""
    if event.type != spec.type:
        return app.decode(event)
    try:
        data = event.data if spec.message is None else json_data(spec, event)
        found: EventModel = spec.model.__pydantic_validator__.validate_json(data)
    except ValidationError as error:
        raise schema_mismatch(spec, event, error) from None
    return found


def key_of(spec: EventSpec, decoded: EventModel, event: Event[bytes]) -> bytes | None:
    """The declared key field of an event; where it is empty, the partition key or subject of its envelope."""
    value = getattr(decoded, spec.key) if spec.key is not None else None
    if type(value) is str and value:
        return value.encode()
    return _text_key(event) if value in (None, "") else str(value).encode()


def _text_key(event: Event[bytes]) -> bytes | None:
    text = event.partition_key or event.subject
    return None if text is None else text.encode()


@dataclass(frozen=True, slots=True)
class Asked:
    """An effect with its identity, and who asked for it because of what."""

    effect: Effect[Any]
    id: str
    reaction: str
    cause: Event[bytes]


def react(app: App, reaction: ReactionSpec, event: Event[bytes]) -> list[Asked]:
    """What a reaction asks for because of one event. Raises SchemaMismatch, or whatever the reaction raises."""
    event = app.upcast(event)
    return asked_of(app, reaction, event, answers_of(reaction, reaction.function, [app.decode(event)])[0])


def answers_of(reaction: ReactionSpec, function: Reaction, models: Sequence[EventModel]) -> Sequence[Any]:
    """What a reaction answers to some events: one answer each. Raises Misconfigured, or what the function raises."""
    if reaction.batch is None:
        return [function(model) for model in models]
    answers = function(list(models))
    if not isinstance(answers, Sequence) or len(answers) != len(models):
        given = len(answers) if isinstance(answers, Sequence) else type(answers).__name__
        raise Misconfigured(
            f"reaction {reaction.name} took {len(models)} events and answered {given}; answer a list as long, "
            "with what each event asks for"
        )
    return answers


def asked_of(app: App, reaction: ReactionSpec, event: Event[bytes], answer: Any) -> list[Asked]:
    """The effects of an answer with their identities: the same ones whenever the event comes, and with whichever others."""
    effects = listed(app, answer)
    ids = effect_ids(app.name, reaction.name, event, effects)
    return [Asked(effect, id, reaction.name, event) for effect, id in zip(effects, ids, strict=True)]  # noqa: A001


def listed(app: App, answer: Any) -> list[Effect[Any]]:
    """The effects of an answer: none, one or many. Raises Misconfigured for anything else."""
    if answer is None:
        return []
    effects = list(answer) if isinstance(answer, Sequence) else [answer]
    for effect in effects:
        if not isinstance(effect, Append | Publish | Run | Http) and not _own(app, effect):
            raise Misconfigured(
                f"a reaction answered {type(effect).__name__}; answer nerv.append(...), nerv.publish(...), "
                "nerv.run(...), nerv.http(...), an effect that app.handlers performs, a list of them, or None"
            )
    return effects


def _own(app: App, effect: Any) -> bool:
    return isinstance(effect, Effect) and app.handlers.performs(type(effect))


def event_of(app: App, asked: Asked, model: EventModel) -> Event[bytes]:
    """The event that an effect writes: the effect's id, the cause's time and trace, the cause as its cause."""
    cause = asked.cause
    same = model.came_as(cause)  # the very event that came: its bytes are passed on as they are
    return Event(
        id=asked.id,
        source=f"nerv:{app.name}/{asked.reaction}",
        type=app.type_of(model),
        time=cause.time,
        data=cause.data if same else model.model_dump_json().encode(),
        correlation_id=cause.correlation_id or cause.id,
        causation_id=cause.id,
        content_type=cause.content_type if same else JSON,
        traceparent=cause.traceparent,
        tracestate=cause.tracestate,
    )


def append_request(app: App, asked: Asked, effect: Append) -> AppendRequest:
    """The append that an effect asks for, at whatever version its stream is."""
    return AppendRequest(effect.stream, [event_of(app, asked, effect.event)])


def published(app: App, asked: Asked, effect: Publish) -> Keyed:
    """The record of a publish. Raises Misconfigured when nobody said which topic."""
    event = event_of(app, asked, effect.event)
    spec = app.events[event.type]
    topic = effect.topic or spec.topic
    if topic is None:
        raise Misconfigured(f"{event.type} has no topic; declare one, or name it in nerv.publish(..., topic=...)")
    key = effect.key.encode() if effect.key is not None else key_of(spec, effect.event, event)
    return Keyed(topic, event, key)


def describe(error: BaseException) -> str:
    """The cause of a dead letter, for people: what our errors say, or class and text of a foreign one."""
    return str(error) if isinstance(error, NervError) else f"{type(error).__name__}: {error}"
