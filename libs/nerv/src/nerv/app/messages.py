# SPDX-License-Identifier: Apache-2.0
"""Events whose data come as a protobuf message: read as the JSON that protobuf's own mapping makes of them.

So one model says what an event means, however it is written: it checks, keys and folds both.
https://protobuf.dev/programming-guides/json/, with the names of fields as the `.proto` has them.
"""

from typing import TYPE_CHECKING

from nerv.errors import Misconfigured, SchemaMismatch
from nerv.model import Envelope, EventModel, event_of

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from nerv.app.specs import EventSpec

CONTENT_TYPES = frozenset({"application/protobuf", "application/x-protobuf", "application/vnd.google.protobuf"})


def is_protobuf(content_type: str) -> bool:
    """Whether data of this content type are a protobuf message."""
    return content_type.partition(";")[0].strip().lower() in CONTENT_TYPES


def check_message(event_type: str, model: type[EventModel], message: "type[Message]") -> None:
    """Raises Misconfigured where the message lacks a field that the model must have."""
    there = message.DESCRIPTOR.fields_by_name
    missing = [
        name for name, field in model.model_fields.items() if field.is_required() and (field.alias or name) not in there
    ]
    if missing:
        raise Misconfigured(
            f"event {event_type}: message {message.DESCRIPTOR.full_name} has no {', '.join(missing)}, which "
            f"{model.__name__} needs; add the fields to the .proto, or give them defaults"
        )


def json_data(spec: "EventSpec", event: Envelope) -> bytes:
    """The data of an event as JSON. Raises SchemaMismatch for protobuf data that are not the declared message."""
    if spec.message is None or not is_protobuf(event_of(event).content_type):
        return event.data
    return _json(spec.message, event)


def refusal_of_protobuf(event: Envelope) -> SchemaMismatch | None:
    """What to say of protobuf data of a type that is declared without a message; None where it has no such data."""
    if not is_protobuf(event_of(event).content_type):
        return None
    return SchemaMismatch(
        f"event {event.id} holds protobuf, and {event.type} is declared without a message; send JSON, or declare it: "
        "@app.event(..., message=...)"
    )


def _json(message: "type[Message]", event: Envelope) -> bytes:
    from google.protobuf import json_format  # whoever declares a message has loaded protobuf
    from google.protobuf.message import DecodeError

    try:
        found = message.FromString(event.data)
        return json_format.MessageToJson(
            found, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, indent=None
        ).encode()
    except (DecodeError, json_format.Error, ValueError) as error:
        name = message.DESCRIPTOR.full_name
        detail = f"is no {name}: {error}"
        raise SchemaMismatch(
            f"event {event.id} does not fit {event.type}: /: {detail}", errors=[{"path": "/", "detail": detail}]
        ) from None
