# SPDX-License-Identifier: Apache-2.0
"""The words that a route takes in its address and headers. Declared once: the door checks them, handlers read them, the
OpenAPI document names them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, Literal, TypeVar

from nerv.cloudevents.http_binding import BATCH, STRUCTURED
from nerv.errors import Invalid
from nerv.types import check_id, parse_instant

T = TypeVar("T")
V = TypeVar("V", bound=StrEnum)

LAST = 2**63 - 1
PATTERNS = 100  # names that one parameter may have
SHOWN = 40  # characters of a wrong word in an error

ID: Mapping[str, Any] = {"type": "string", "minLength": 1, "maxLength": 256}


@dataclass(frozen=True, slots=True, eq=False)
class Param(Generic[T]):
    """One word: how it is read (raises Invalid or TooLarge), what JSON Schema says of it, what it is where it is left out."""

    name: str
    read: Callable[[str], T]
    schema: Mapping[str, Any]
    default: T
    help: str
    place: Literal["query", "header"] = "query"


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """What a route takes as its body: a JSON Schema for each content type."""

    types: Mapping[str, Mapping[str, Any]]
    help: str = ""
    required: bool = True


def number(name: str, default: int, help: str, *, low: int = 0, high: int = LAST) -> Param[int]:  # noqa: A002 - it is help
    """A whole number within bounds."""
    return Param(name, lambda text: whole_number(text, name, low, high), _whole(low, high), default, help)


def optional_number(name: str, help: str, *, low: int = 0, high: int = LAST) -> Param[int | None]:  # noqa: A002
    """The same, or None."""
    return Param(name, lambda text: whole_number(text, name, low, high), _whole(low, high), None, help)


def positive(name: str, help: str, *, high: float) -> Param[float | None]:  # noqa: A002
    """A number above 0, or None."""

    def read(text: str) -> float:
        try:
            found = float(text[:SHOWN])
        except ValueError:
            found = 0.0
        if not 0 < found <= high:  # also what is not a number
            raise Invalid(f"{name} must be a number above 0 and at most {high:g}, not {text[:SHOWN]!r}")
        return found

    return Param(name, read, {"type": "number", "exclusiveMinimum": 0, "maximum": high}, None, help)


def flag(name: str, help: str) -> Param[bool]:  # noqa: A002
    """`true` or `false`; false where it is left out."""

    def read(text: str) -> bool:
        if text not in ("true", "false"):
            raise Invalid(f"{name} must be true or false, not {text[:SHOWN]!r}")
        return text == "true"

    return Param(name, read, {"type": "boolean"}, False, help)


def choice(name: str, default: V, help: str) -> Param[V]:  # noqa: A002
    """One of the values of an enumeration."""
    kind = type(default)
    known = {one.value: one for one in kind}

    def read(text: str) -> V:
        found = known.get(text)
        if found is None:
            raise Invalid(f"{name} must be {' or '.join(kind)}, not {text[:SHOWN]!r}")
        return found

    return Param(name, read, {"type": "string", "enum": [one.value for one in kind]}, default, help)


def instant(name: str, help: str) -> Param[datetime | None]:  # noqa: A002
    """An instant (UTC), or None."""
    return Param(
        name, lambda text: parse_instant(text[:60], name), {"type": "string", "format": "date-time"}, None, help
    )


def patterns(name: str, help: str) -> Param[frozenset[str]]:  # noqa: A002
    """Names, or beginnings of names that end with `*`, with commas between."""

    def read(text: str) -> frozenset[str]:
        found = frozenset(check_id(one, name) for one in text.split(","))
        if len(found) > PATTERNS:
            raise Invalid(f"{name} has {len(found)} names; the limit is {PATTERNS}")
        return found

    return Param(name, read, {"type": "string", "minLength": 1}, frozenset(), help)


def text(name: str, help: str, schema: Mapping[str, Any] = ID) -> Param[str | None]:  # noqa: A002
    """A text that the handler itself understands, or None."""
    return Param(name, lambda found: found, schema, None, help)


def header(name: str, help: str) -> Param[str | None]:  # noqa: A002
    """A header that the handler itself understands, or None."""
    return Param(name, lambda found: found, {"type": "string"}, None, help, "header")


IDEMPOTENCY_KEY = header("idempotency-key", "The id of what is asked for: the same one again happens once.")
LAST_EVENT_ID = header("last-event-id", "The position after the last event that was read; a stream goes on from there.")


def whole_number(found: str, name: str, low: int, high: int = LAST) -> int:
    """A whole number within bounds. Raises Invalid."""
    if not (found.isascii() and found.isdigit() and len(found) <= len(str(LAST)) and low <= int(found) <= high):
        raise Invalid(f"{name} must be a whole number from {low} to {high}, not {found[:SHOWN]!r}")
    return int(found)


def _whole(low: int, high: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": high}


_CLOUDEVENT: Mapping[str, Any] = {
    "type": "object",
    "description": "A CloudEvent 1.0 in structured mode.",
    "properties": {
        "specversion": {"type": "string", "const": "1.0"},
        "id": ID,
        "source": ID,
        "type": ID,
        "time": {"type": "string", "format": "date-time"},
        "subject": ID,
        "partitionkey": ID,
        "data": {},
    },
    "required": ["specversion", "id", "source", "type"],
}
CLOUDEVENTS = Body(
    {STRUCTURED: _CLOUDEVENT, BATCH: {"type": "array", "items": _CLOUDEVENT, "minItems": 1}},
    "Events, structured or as a batch. In binary mode the body is the data, of any type, and `ce-` headers are the attributes.",
)
