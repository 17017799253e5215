# SPDX-License-Identifier: Apache-2.0
"""Resources and versioned states as CloudEvents and as protobuf, and back. Effects have a codec in `nerv.effects.codec`."""

import base64
from datetime import datetime
from typing import Any

import orjson

from nerv.api.event.v1 import types_pb2
from nerv.cloudevents.proto_format import from_us, to_us
from nerv.errors import SchemaMismatch
from nerv.types import (
    EntityId,
    Event,
    LifecycleState,
    Resource,
    ResourceId,
    VersionedState,
    VersionId,
    format_instant,
    parse_instant,
)

RESOURCE = "nerv.resource.v1"
STATE = "nerv.state.v1"


def resource_to_event(resource: Resource[bytes], *, id: str, source: str, time: datetime) -> Event[bytes]:  # noqa: A002
    """A CloudEvent of type `nerv.resource.v1`, whose subject is the resource."""
    document = {
        "kind": resource.kind,
        "state": resource.state.value,
        "value": None if resource.value is None else base64.b64encode(resource.value).decode(),
        "needs": resource.needs,
        "error": resource.error,
    }
    return Event(id, source, RESOURCE, time, orjson.dumps(document), subject=resource.id)


def resource_from_event(event: Event[bytes]) -> Resource[bytes]:
    """The resource. Raises SchemaMismatch for an event of another type or with other data."""
    found = _document(event, RESOURCE)
    try:
        value = found["value"]
        return Resource(
            ResourceId(event.stream),
            found["kind"],
            LifecycleState(found["state"]),
            None if value is None else base64.b64decode(value, validate=True),
            tuple(ResourceId(need) for need in found["needs"]),
            found["error"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SchemaMismatch(f"event {event.id} is no resource: {error!r}") from None


def resource_to_proto(resource: Resource[bytes]) -> types_pb2.Resource:
    """A nerv.api.event.v1.Resource."""
    return types_pb2.Resource(
        id=resource.id,
        kind=resource.kind,
        state=types_pb2.LifecycleState.Value(f"LIFECYCLE_STATE_{resource.state.name}"),
        value=resource.value,
        needs=resource.needs,
        error=resource.error,
    )


def resource_from_proto(message: types_pb2.Resource) -> Resource[bytes]:
    """The resource. Raises SchemaMismatch for a state of a later version of the mesh."""
    try:
        name = types_pb2.LifecycleState.Name(message.state).removeprefix("LIFECYCLE_STATE_")
        state = LifecycleState[name]
    except (ValueError, KeyError):
        raise SchemaMismatch(f"resource {message.id} is in state {message.state}, which is not known here") from None
    return Resource(
        ResourceId(message.id),
        message.kind,
        state,
        message.value if message.HasField("value") else None,
        tuple(ResourceId(need) for need in message.needs),
        message.error if message.HasField("error") else None,
    )


def state_to_event(state: VersionedState[bytes], *, id: str, source: str, time: datetime) -> Event[bytes]:  # noqa: A002
    """A CloudEvent of type `nerv.state.v1`, whose subject is the entity and whose sequence is the version."""
    document = {
        "version": state.version,
        "state": base64.b64encode(state.state).decode(),
        "time": _text(state.time),
        "recorded_time": _text(state.recorded_time),
    }
    return Event(id, source, STATE, time, orjson.dumps(document), subject=state.id)


def state_from_event(event: Event[bytes]) -> VersionedState[bytes]:
    """The state. Raises SchemaMismatch for an event of another type or with other data."""
    found = _document(event, STATE)
    try:
        return VersionedState(
            EntityId(event.stream),
            VersionId(int(found["version"])),
            base64.b64decode(found["state"], validate=True),
            _instant(found["time"]),
            _instant(found["recorded_time"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SchemaMismatch(f"event {event.id} is no state: {error!r}") from None


def state_to_proto(state: VersionedState[bytes]) -> types_pb2.VersionedState:
    """A nerv.api.event.v1.VersionedState."""
    return types_pb2.VersionedState(
        id=state.id,
        version=state.version,
        state=state.state,
        time_us=None if state.time is None else to_us(state.time),
        recorded_time_us=None if state.recorded_time is None else to_us(state.recorded_time),
    )


def state_from_proto(message: types_pb2.VersionedState) -> VersionedState[bytes]:
    """The state."""
    return VersionedState(
        EntityId(message.id),
        VersionId(message.version),
        message.state,
        from_us(message.time_us) if message.HasField("time_us") else None,
        from_us(message.recorded_time_us) if message.HasField("recorded_time_us") else None,
    )


def _document(event: Event[bytes], expected: str) -> dict[str, Any]:
    if event.type != expected:
        raise SchemaMismatch(f"event {event.id} is of type {event.type}, not {expected}")
    try:
        found = orjson.loads(event.data)
    except orjson.JSONDecodeError as error:
        raise SchemaMismatch(f"event {event.id} holds no JSON: {error}") from None
    if not isinstance(found, dict):
        raise SchemaMismatch(f"event {event.id} holds no JSON object")
    return found


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else format_instant(instant)


def _instant(text: str | None) -> datetime | None:
    return None if text is None else parse_instant(text)
