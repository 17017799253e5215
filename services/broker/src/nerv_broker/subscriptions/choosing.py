# SPDX-License-Identifier: Apache-2.0
"""Which events a subscriber wants: by type, by subject, by the fields of their data. Pure.

Fields are chosen by a JMESPath expression (https://jmespath.org/specification.html): it only reads, and loops over nothing but
the data, whose size is bounded. What it gives is truth as JMESPath has it: false, null and what is empty are not.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jmespath
import orjson
from jmespath.exceptions import JMESPathError

from nerv.errors import Invalid
from nerv.history import named
from nerv.types import Event

LONGEST = 1000  # characters of an expression

Chooses = Callable[[Event[bytes]], bool]
AsJson = Callable[[Event[bytes]], Event[bytes]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody wants. Types and subjects may end with `*`; none means all. `where` is a JMESPath expression."""

    types: frozenset[str] = field(default=frozenset())
    subjects: frozenset[str] = field(default=frozenset())
    where: str | None = None


def chooser(wanted: Wanted, as_json: AsJson | None = None) -> Chooses:
    """Whether an event is wanted; `as_json` reads data that are not JSON. Raises Invalid for an expression that is none."""
    types, subjects = named(wanted.types), named(wanted.subjects)
    fields = _fields(wanted.where)

    def chooses(event: Event[bytes]) -> bool:
        return (
            types(event.type)
            and (not wanted.subjects or (event.subject is not None and subjects(event.subject)))
            and (fields is None or fields(event.data if as_json is None else as_json(event).data))
        )

    return chooses


def _fields(text: str | None) -> Callable[[bytes], bool] | None:
    if text is None:
        return None
    if len(text) > LONGEST:
        raise Invalid(f"where has {len(text)} characters; the limit is {LONGEST}")
    try:
        expression = jmespath.compile(text)
    except (JMESPathError, RecursionError) as error:
        raise Invalid(f"where is no JMESPath expression ({_first_line(error)}); for example: delay > `30`") from None

    def matches(data: bytes) -> bool:
        try:
            return _true(expression.search(orjson.loads(data)))
        except (orjson.JSONDecodeError, JMESPathError, TypeError, ValueError):
            return False  # what is no JSON, or has other types than the expression is about, is not what was asked for

    return matches


def _true(value: Any) -> bool:
    # Zero is true in JMESPath, and false in Python.
    return bool(value) or (isinstance(value, int | float) and not isinstance(value, bool))


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).partition("\n")[0][:200]
