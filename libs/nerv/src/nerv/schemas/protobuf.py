# SPDX-License-Identifier: Apache-2.0
"""May bytes of one protobuf message not be read as another? Pure. A message's schema is its descriptors as JSON.

Field numbers and wire types decide (https://protobuf.dev/programming-guides/proto3/#updating): names may change, fields may come
and go, and unknown ones are kept. A number that comes back must have the type that it had.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from google.protobuf import descriptor_pb2, json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

from nerv.errors import Invalid
from nerv.schemas.json_schema import Fault

# Types whose bytes mean the same to each other, as far as the value fits.
_GROUPS = (
    {Field.TYPE_INT32, Field.TYPE_UINT32, Field.TYPE_INT64, Field.TYPE_UINT64, Field.TYPE_BOOL, Field.TYPE_ENUM},
    {Field.TYPE_SINT32, Field.TYPE_SINT64},
    {Field.TYPE_FIXED32, Field.TYPE_SFIXED32},
    {Field.TYPE_FIXED64, Field.TYPE_SFIXED64},
)
# A reader of text refuses what is not UTF-8, so that bytes may not become a string; the other way is safe.
_WIDER = {(Field.TYPE_STRING, Field.TYPE_BYTES)}
_NARROWER = {Field.TYPE_BOOL: 0, Field.TYPE_ENUM: 1, Field.TYPE_INT32: 1, Field.TYPE_UINT32: 1}  # else: 64 bits


def descriptors_of(message: Descriptor) -> str:
    """The message and all that it names, as JSON: full names to descriptors, in one canonical form."""
    found: dict[str, Any] = {}
    _collect(message, found)
    return orjson.dumps({"message": message.full_name, "types": found}, option=orjson.OPT_SORT_KEYS).decode()


def _collect(described: Descriptor | EnumDescriptor, found: dict[str, Any]) -> None:
    if described.full_name in found:
        return
    if isinstance(described, EnumDescriptor):
        enum = descriptor_pb2.EnumDescriptorProto()
        described.CopyToProto(enum)
        found[described.full_name] = json_format.MessageToDict(enum)
        return
    message = descriptor_pb2.DescriptorProto()
    described.CopyToProto(message)
    del message.nested_type[:], message.enum_type[:]  # each stands under its own full name
    found[described.full_name] = json_format.MessageToDict(message)
    for field in described.fields:
        inner = field.message_type or field.enum_type
        if inner is not None:
            _collect(inner, found)


def check_descriptors(text: str) -> None:
    """Raises Invalid for what `descriptors_of` would not have made."""
    document = _document(text)
    try:
        for one in document["types"].values():
            json_format.ParseDict(one, descriptor_pb2.DescriptorProto(), ignore_unknown_fields=True)
    except (json_format.ParseError, AttributeError, TypeError) as error:
        raise Invalid(f"this describes no protobuf message: {error}") from None


def faults(old: str, new: str) -> list[Fault]:
    """Where bytes of `old` may not be read as `new`."""
    before, after = _document(old), _document(new)
    return list(_messages(before, before["message"], after, after["message"], "", set()))


def _document(text: str) -> dict[str, Any]:
    try:
        document = orjson.loads(text)
        if not isinstance(document["types"], dict) or document["message"] not in document["types"]:
            raise ValueError("it names no message that it holds")
    except (ValueError, KeyError, TypeError) as error:
        raise Invalid(f"this describes no protobuf message: {error}") from None
    found: dict[str, Any] = document
    return found


def _messages(
    before: Mapping[str, Any], old: str, after: Mapping[str, Any], new: str, path: str, seen: set[tuple[str, str]]
) -> Iterator[Fault]:
    if (old, new) in seen:
        return
    seen.add((old, new))
    was, now = _fields(before, old), _fields(after, new)
    for number in sorted(was.keys() & now.keys()):
        one, other = was[number], now[number]
        place = f"{path}/{one.name}"
        if (one.label == Field.LABEL_REPEATED) != (other.label == Field.LABEL_REPEATED):
            yield Fault(place, f"field {number} is {'' if other.label == Field.LABEL_REPEATED else 'not '}repeated now")
        elif not _readable(one.type, other.type):
            yield Fault(place, f"field {number} is {_type(other)}, and was {_type(one)}")
        elif one.type == Field.TYPE_MESSAGE:
            inner = one.type_name.lstrip("."), other.type_name.lstrip(".")
            yield from _messages(before, inner[0], after, inner[1], place, seen)


def _fields(document: Mapping[str, Any], name: str) -> dict[int, Field]:
    message = descriptor_pb2.DescriptorProto()
    json_format.ParseDict(document["types"].get(name, {}), message, ignore_unknown_fields=True)
    return {field.number: field for field in message.field}


def _readable(old: int, new: int) -> bool:
    if old == new or (old, new) in _WIDER:
        return True
    group = next((group for group in _GROUPS if old in group), set())
    return new in group and _NARROWER.get(old, 2) <= _NARROWER.get(new, 2)  # type: ignore[call-overload]  # keys are ints


def _type(field: Field) -> str:
    return Field.Type.Name(field.type).removeprefix("TYPE_").lower()
