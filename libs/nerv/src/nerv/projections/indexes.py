# SPDX-License-Identifier: Apache-2.0
"""Secondary indexes of a projection, pure: the entries of a state, in bytes whose order is that of the values.

An entry is the index's name and a value; a member of the store's one sorted set is an entry and the key of the view. What
separates them sorts before all that values hold, so that `ab` comes before `abc`, whatever their keys are.
"""

import struct
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import Enum
from functools import partial
from typing import Any, Final

from nerv.app.specs import Index
from nerv.errors import Invalid, TooLarge
from nerv.history.fingerprint import fingerprint_of
from nerv.protocols.views import Span
from nerv.types import Description, format_instant, parse_instant

LONGEST = 256  # characters of a text in an index
MOST = 64  # values that one state may have in an index

BREAK: Final = "\x01"
_BEHIND: Final = b"\x02"  # sorts behind every member of an entry
# What would be mistaken for a break, or sort before it. Control characters behind these stay as they are.
_ESCAPES: Final = {0: "\x02\x01", 1: "\x02\x02", 2: "\x02\x03"}
_SIGN: Final = 1 << 63
_ALL: Final = (1 << 64) - 1


class Indexes:
    """The indexes of one projection."""

    def __init__(self, projection: str, specs: Mapping[str, Index]) -> None:
        self._projection, self.specs = projection, specs
        self._readers = [(name, _reader(spec), partial(_text, spec.kind)) for name, spec in specs.items()]

    @property
    def digests(self) -> dict[str, str]:
        """Of each index, what it is made by: one whose digest is not that of the views' epoch is not complete."""
        return {name: fingerprint_of(spec.by, spec.kind.__name__) for name, spec in self.specs.items()}

    def entries(self, state: Any) -> tuple[str, ...]:
        """The entries of a state, each once. Raises Invalid or TooLarge, or what a function of the app raises."""
        if state is None:
            return ()
        found: dict[str, None] = {}
        for name, read, text in self._readers:
            for value in self._values(name, read(state)):
                try:
                    found[f"{name}{BREAK}{text(value)}"] = None
                except (Invalid, TooLarge) as error:
                    raise type(error)(f"index {name} of projection {self._projection}: {error.detail}") from None
        return tuple(found)

    def _values(self, name: str, found: Any) -> Iterable[Any]:
        if found is None:
            return ()
        if not isinstance(found, list | tuple | set | frozenset):
            return (found,)
        if len(found) > MOST:
            raise TooLarge(
                f"index {name} of projection {self._projection} gives a state {len(found)} values; the limit is {MOST}"
            )
        return [value for value in found if value is not None]

    def describe(self) -> Description:
        """The indexes as data."""
        return Description("Indexes", self._projection, outputs=tuple(self.specs))

    def listed(self) -> str:
        """The indexes as people read them: `at (text), minutes (number)`."""
        return ", ".join(f"{name} ({words(spec.kind)})" for name, spec in self.specs.items()) or "none"


def words(kind: type) -> str:
    """What people call the values of an index."""
    return {str: "text", bool: "true or false", datetime: "instant"}.get(kind, "number")


def member(entry: str, key: str) -> bytes:
    """An entry of a view as it stands in the store."""
    return f"{entry}{BREAK}{key}".encode()


def parts(found: str) -> tuple[str, str]:
    """The entry and the key of a member."""
    entry, _, key = found.rpartition(BREAK)
    return entry, key


def span(
    name: str, kind: type, *, equals: str | None = None, low: str | None = None, high: str | None = None,
    prefix: str | None = None,
) -> Span:  # fmt: skip
    """The members of an index with a value that is `equals`, or begins with `prefix`, or lies from `low` to `high`, both in it.

    The values are as people write them: `JFK`, `12.5`, `true`, `2013-01-15T12:00:00Z`. Raises Invalid.
    """
    start = f"{name}{BREAK}".encode()
    if equals is not None:
        at = start + _asked(kind, equals, "equals") + BREAK.encode()
        return Span(at, at[:-1] + _BEHIND)
    if prefix is not None:
        if kind is not str:
            raise Invalid(f"prefix is of texts, and index {name} is of kind {words(kind)}; use low and high")
        at = start + prefix.translate(_ESCAPES).encode()
        return Span(at, at + b"\xff")  # which no UTF-8 holds
    first = start if low is None else start + _asked(kind, low, "low") + BREAK.encode()
    last = start[:-1] + _BEHIND if high is None else start + _asked(kind, high, "high") + _BEHIND
    return Span(first, last)


def _asked(kind: type, text: str, what: str) -> bytes:
    try:
        return _text(kind, _parsed(kind, text)).encode()
    except (ValueError, Invalid, TooLarge):
        raise Invalid(f"{what} must read as {words(kind)}, not {text[:40]!r}") from None


def _parsed(kind: type, text: str) -> Any:
    if kind is str:
        return text
    if kind is bool:
        return {"true": True, "false": False}.get(text)
    return parse_instant(text[:60]) if kind is datetime else float(text[:60])


def _reader(spec: Index) -> Callable[[Any], Any]:
    if not isinstance(spec.by, str):
        return spec.by
    names = spec.by.split(".")
    return lambda state: _at(state, names)


def _at(state: Any, names: Iterable[str]) -> Any:
    for name in names:
        state = state.get(name) if isinstance(state, Mapping) else getattr(state, name, None)
        if state is None:
            return None
    return state


def _text(kind: type, value: Any) -> str:
    """A value so that texts are in the order of values."""
    value = value.value if isinstance(value, Enum) else value
    if kind is str and isinstance(value, str):
        if len(value) > LONGEST:
            raise TooLarge(f"a text of {len(value)} characters; the limit is {LONGEST}")
        return value if value.isprintable() else value.translate(_ESCAPES)
    if kind is bool and isinstance(value, bool):
        return "1" if value else "0"
    if kind is datetime and isinstance(value, datetime | str):
        return _instant(value)
    if kind in (int, float) and isinstance(value, int | float) and not isinstance(value, bool):
        return _number(value)
    raise Invalid(f"a value of type {type(value).__name__}, and the index is of kind {words(kind)}")


def _instant(value: datetime | str) -> str:
    found = parse_instant(value) if isinstance(value, str) else value
    if found.tzinfo is None:
        raise Invalid(f"the instant {found} lacks an offset")
    return format_instant(found)


def _number(value: float) -> str:
    """A number as 64-bit floating point: its bits, turned so that they are in order."""
    try:
        (bits,) = struct.unpack(">Q", struct.pack(">d", value + 0.0))  # which makes -0.0 the same as 0.0
    except OverflowError:
        raise Invalid("a number beyond those of 64-bit floating point") from None
    if value != value:
        raise Invalid("NaN is in no order")
    return f"{bits ^ _ALL if bits & _SIGN else bits | _SIGN:016x}"
