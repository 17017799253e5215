# SPDX-License-Identifier: Apache-2.0
"""Between the values of a database and those of JSON, so that equal values are equal bytes whichever database has them."""

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Column

from nerv.errors import Invalid

PLAIN = (int, str, bool, float)  # what JSON has, too
Convert = Callable[[Any], Any]


def python_type(column: Column[Any]) -> type[Any] | None:
    """What the values of a column are to Python; None where only the database knows."""
    try:
        return column.type.python_type
    except NotImplementedError:
        return None


def is_plain(column: Column[Any]) -> bool:
    """Whether the values of a column are JSON as they are."""
    return python_type(column) in PLAIN


def to_json(value: Any) -> Any:
    """A value as JSON has it: instants in UTC, decimals and identifiers as text, bytes in Base64. Others stay as they are."""
    if isinstance(value, datetime):
        # As pydantic and orjson write it, so that a file or an answer of theirs compares.
        return (
            value.isoformat() if value.tzinfo is None else f"{value.astimezone(UTC).replace(tzinfo=None).isoformat()}Z"
        )
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        return base64.b64encode(value).decode()
    return value


def from_json(column: Column[Any], value: Any) -> Any:
    """A JSON value as a column takes it. Raises Invalid for one that it does not take: SQLite would keep it anyway."""
    kind = python_type(column)
    if value is None or kind is None or kind in (dict, list):
        return value
    try:
        found = _READ.get(kind, lambda given: given)(value)
    except (ValueError, TypeError, ArithmeticError):
        found = None
    # True is a whole number to Python, and none to a database, which has no more than 64 bits for one.
    strange = not isinstance(found, kind) or isinstance(found, bool) is not (kind is bool)
    if strange or (kind is int and not -(2**63) <= found < 2**63):
        raise Invalid(f"column {column.name} takes {kind.__name__}, not {value!r:.60}")
    return found


def _text(convert: Convert) -> Convert:
    def read(value: Any) -> Any:
        return convert(value) if isinstance(value, str) else None

    return read


def _float(value: Any) -> Any:
    return float(value) if isinstance(value, int | float) else None


def _decimal(value: Any) -> Any:
    return None if isinstance(value, bool) else Decimal(str(value))


_READ: Mapping[type[Any], Convert] = {
    datetime: _text(datetime.fromisoformat),
    date: _text(date.fromisoformat),
    time: _text(time.fromisoformat),
    UUID: _text(UUID),
    bytes: _text(lambda text: base64.b64decode(text, validate=True)),
    Decimal: _decimal,
    float: _float,
}
