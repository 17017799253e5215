# SPDX-License-Identifier: Apache-2.0
"""Schemas by subject (an event type, or a message's full name) and version, and the decision to take one more. Pure."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

import orjson

from nerv.errors import Conflict, Invalid, TooLarge
from nerv.schemas import json_schema, protobuf
from nerv.schemas.json_schema import Fault
from nerv.types import check_id

MOST_VERSIONS = 200  # of one subject
MOST_BYTES = 64 * 1024  # of one schema
SUBJECT_BYTES = 900 * 1024  # of all versions of a subject: they are one record, whose limit is 1 MiB


class Format(StrEnum):
    """What a schema is written in."""

    JSON = "json"  # JSON Schema, draft 2020-12
    PROTOBUF = "protobuf"  # descriptors, see `nerv.schemas.protobuf`


class Compatibility(StrEnum):
    """What a new version must be, towards **every** earlier one: history is for ever, not only the last version is read."""

    BACKWARD = "backward"  # it reads what was written by them
    FORWARD = "forward"  # they read what is written by it
    FULL = "full"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema that is checked and in canonical form; `id` is a hash of format and text, the same in every mesh."""

    subject: str
    format: Format
    text: str
    id: str = field(init=False)

    def __post_init__(self) -> None:
        made = hashlib.sha256(f"{self.format}\n{self.text}".encode()).hexdigest()[:16]
        object.__setattr__(self, "id", made)


class Version(NamedTuple):
    """A registered schema; versions of a subject count from 1. `time` is when it was registered (UTC), `by` by whom."""

    number: int
    schema: Schema
    time: datetime
    by: str


def schema_of(subject: str, form: Format, text: str | bytes) -> Schema:
    """A schema as somebody sent it. Raises Invalid or TooLarge."""
    check_id(subject, "subject")
    if len(text) > MOST_BYTES:
        raise TooLarge(f"the schema of {subject} has {len(text)} bytes; the limit is {MOST_BYTES}")
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"the schema of {subject} is no JSON: {error}") from None
    canonical = orjson.dumps(document, option=orjson.OPT_SORT_KEYS).decode()
    if form is Format.JSON:
        json_schema.check_schema(document)
    else:
        protobuf.check_descriptors(canonical)
    return Schema(subject, form, canonical)


def incompatible(old: Schema, new: Schema, mode: Compatibility) -> list[Fault]:
    """Where `new` is not what `mode` asks of it, next to `old`."""
    if mode is Compatibility.NONE or old.id == new.id:
        return []
    if old.format is not new.format:
        return [Fault("", f"the format is {new.format}, and was {old.format}")]
    found = _faults(old, new) if mode is not Compatibility.FORWARD else []
    if mode in (Compatibility.FORWARD, Compatibility.FULL):
        found += [Fault(path, f"for earlier readers: {detail}") for path, detail in _faults(new, old)]
    return found


def _faults(writer: Schema, reader: Schema) -> list[Fault]:
    if writer.format is Format.PROTOBUF:
        return protobuf.faults(writer.text, reader.text)
    return json_schema.faults(orjson.loads(writer.text), orjson.loads(reader.text))


def registered(versions: Sequence[Version], schema: Schema) -> Version | None:
    """The version that this schema has already."""
    return next((version for version in versions if version.schema.id == schema.id), None)


def check_next(versions: Sequence[Version], schema: Schema, mode: Compatibility) -> int:
    """The number of the version that `schema` becomes. Raises Conflict with every fault, or TooLarge."""
    if len(versions) >= MOST_VERSIONS or sum(len(v.schema.text) for v in versions) + len(schema.text) > SUBJECT_BYTES:
        raise TooLarge(
            f"{schema.subject} has {len(versions)} versions, as many as one record holds; "
            "declare a new event type (v2) instead"
        )
    faults = [
        {"path": path or "/", "version": version.number, "detail": detail}
        for version in versions
        for path, detail in incompatible(version.schema, schema, mode)
    ]
    if faults:
        first = faults[0]
        raise Conflict(
            f"the new schema of {schema.subject} is not {mode} compatible with version {first['version']}: "
            f"{first['path']}: {first['detail']}. Make the change one that earlier data fits (an optional field, a wider "
            "type), or declare a new event type",
            errors=faults,
        )
    return len(versions) + 1
