# SPDX-License-Identifier: Apache-2.0
"""Effects as CloudEvents and as protobuf, and back: for journals, recordings and other processes."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, get_type_hints

import orjson
from pydantic import TypeAdapter, ValidationError

from nerv.api.event.v1 import types_pb2
from nerv.cloudevents.proto_format import from_us, to_us
from nerv.effects.kinds import Append, Http, Log, Publish, ReadView, Run, Task, Timer
from nerv.errors import Invalid, Misconfigured, SchemaMismatch
from nerv.model import EventModel
from nerv.types import Effect, Event, check_id

BUILT_IN: tuple[type[Effect[Any]], ...] = (Append, Publish, Run, Http, Task, Timer, ReadView, Log)
PREFIX = "nerv.effect."


class EffectCodec:
    """Writes and reads effects of known kinds; the events inside them are of known types. The same effect comes back."""

    def __init__(
        self, events: Mapping[str, type[EventModel]] | None = None, kinds: Iterable[type[Effect[Any]]] = ()
    ) -> None:
        """`events` maps the types of an app's events to their models; `kinds` are the app's own types of effect."""
        self._models = dict(events or {})
        self._types = {model: name for name, model in self._models.items()}
        self._kinds = {str(cls.kind): cls for cls in (*BUILT_IN, *kinds)}

    def to_event(self, effect: Effect[Any], *, id: str, source: str, time: datetime) -> Event[bytes]:  # noqa: A002
        """A CloudEvent of type `nerv.effect.<kind>`, whose subject is the target."""
        return Event(id, source, PREFIX + self._kind(effect), time, self._data(effect), subject=effect.target or None)

    def from_event(self, event: Event[bytes]) -> Effect[Any]:
        """The effect. Raises SchemaMismatch for a kind that is not known or data that does not fit it."""
        if not event.type.startswith(PREFIX):
            raise SchemaMismatch(f"event {event.id} of type {event.type} is no effect")
        return self._effect(event.type.removeprefix(PREFIX), event.data)

    def to_proto(self, effect: Effect[Any], *, id: str, time: datetime) -> types_pb2.Effect:  # noqa: A002
        """A nerv.api.event.v1.Effect."""
        return types_pb2.Effect(
            id=check_id(id, "effect id"),
            kind=self._kind(effect),
            target=effect.target,
            data=self._data(effect),
            time_us=to_us(time),
        )

    def from_proto(self, message: types_pb2.Effect) -> tuple[str, datetime, Effect[Any]]:
        """Id, time and effect. Raises SchemaMismatch as above."""
        return message.id, from_us(message.time_us), self._effect(message.kind, message.data)

    def _kind(self, effect: Effect[Any]) -> str:
        kind = str(effect.kind)
        if self._kinds.get(kind) is not type(effect):
            raise Misconfigured(f"{type(effect).__name__} is not a kind of this codec; give it in kinds=")
        return kind

    def _data(self, effect: Effect[Any]) -> bytes:
        try:
            return orjson.dumps({f.name: self._plain(getattr(effect, f.name)) for f in fields(effect)})
        except (TypeError, orjson.JSONEncodeError) as error:
            raise Invalid(f"{type(effect).__name__} holds what JSON cannot: {error}") from None

    def _plain(self, value: Any) -> Any:
        if not isinstance(value, EventModel):
            return _adapter(type(value)).dump_python(value, mode="json")
        name = self._types.get(type(value))
        if name is None:
            raise Misconfigured(f"{type(value).__name__} is not an event type of this codec; give it in events=")
        return {"type": name, "data": value.model_dump(mode="json")}

    def _effect(self, kind: str, data: bytes) -> Effect[Any]:
        cls = self._kinds.get(kind)
        if cls is None:
            raise SchemaMismatch(
                f"there is no kind of effect {kind!r} here; known are {', '.join(sorted(self._kinds))}"
            )
        try:
            found = orjson.loads(data)
            hints = get_type_hints(cls)
            return cls(**{name: self._value(hints[name], value) for name, value in found.items()})
        except (orjson.JSONDecodeError, ValidationError, TypeError, KeyError, AttributeError) as error:
            raise SchemaMismatch(f"not a {kind} effect: {error}") from None

    def _value(self, hint: Any, value: Any) -> Any:
        if not (isinstance(hint, type) and issubclass(hint, EventModel)):
            return _adapter(hint).validate_python(value)
        model = self._models.get(value["type"])
        if model is None:
            raise SchemaMismatch(f"there is no event type {value['type']!r} here")
        return model.model_validate(value["data"])


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def _adapter(hint: Any) -> TypeAdapter[Any]:
    # As many as there are types of fields; building one takes a thousand times as long as using it.
    if hint not in _ADAPTERS:
        _ADAPTERS[hint] = TypeAdapter(hint)
    return _ADAPTERS[hint]
