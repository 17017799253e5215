# SPDX-License-Identifier: Apache-2.0
"""How rows are told apart and compared: the diffing schema of a perspective, or whole rows where there is none."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, Protocol

import orjson

from nerv.errors import Invalid
from nerv.perspectives import DiffSchema
from nerv.protocols.side import Row
from nerv.sync.canonical import canonical
from nerv.sync.scope import EVERYTHING, Scope
from nerv.sync.tree import DIGEST_BYTES, digest
from nerv.types import check_id

_JSON = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME
_BREAK = orjson.Fragment(b"\n")


class Schema(Protocol):
    """When two rows are one object, and when they are equal. `nerv.perspectives.DiffSchema` and `WholeRow` are such."""

    @property
    def name(self) -> str:
        """What the rows are."""
        ...

    @property
    def identifiers(self) -> tuple[str, ...]:
        """What tells objects apart."""
        ...

    @property
    def computed(self) -> tuple[str, ...]:
        """What nothing can be written to."""
        ...

    @property
    def exact(self) -> bool:
        """Whether rows of unequal canonical bytes differ."""
        ...

    def canonical(self, row: Row) -> bytes:
        """Bytes that are equal only for rows that are."""
        ...

    def equal(self, one: Row, other: Row) -> bool:
        """Whether two rows of one object are equal."""
        ...

    def differences(self, one: Row, other: Row) -> tuple[str, ...]:
        """The names of what is compared and differs."""
        ...


@dataclass(frozen=True, slots=True)
class WholeRow:
    """Rows without a perspective: every value counts, and so does which values there are."""

    name: str
    identifiers: tuple[str, ...]
    computed: tuple[str, ...] = ()
    exact: bool = True

    def canonical(self, row: Row) -> bytes:
        """The row as canonical JSON."""
        return canonical(row)

    def equal(self, one: Row, other: Row) -> bool:
        """Whether the canonical bytes are equal."""
        return canonical(one) == canonical(other)

    def differences(self, one: Row, other: Row) -> tuple[str, ...]:
        """The columns that only one has, or that differ."""
        return tuple(
            name
            for name in dict.fromkeys((*one, *other))
            if (name in one) != (name in other) or canonical({"": one[name]}) != canonical({"": other[name]})
        )


def key_of(identifiers: Sequence[str], row: Row) -> str:
    """The key of a row: its one identifier as text, or the texts of several as a JSON list, so that no two collide.

    Raises Invalid for an identifier that is missing, or no text or whole number.
    """
    if len(identifiers) == 1:
        return check_id(_text(identifiers[0], row), f"the key ({identifiers[0]})")
    texts = [_text(name, row) for name in identifiers]
    return check_id(orjson.dumps(texts).decode(), f"the key ({', '.join(identifiers)})")


def _text(name: str, row: Row) -> str:
    value = row.get(name)
    if type(value) is str and value:
        return value
    if type(value) is int:
        return str(value)
    raise Invalid(f"identifier {name} is {value!r:.40}; it must be a text or a whole number, and not empty")


class Digester:
    """The digests of rows by a schema. Equal digests: equal rows; without a tolerance unequal ones differ."""

    def __init__(self, schema: Schema, scope: Scope = EVERYTHING) -> None:
        # Digests of one way of comparing, or of other objects, say nothing about another.
        way = (1, schema, scope) if scope else (1, schema)
        self.fingerprint = digest(repr(way).encode()).hex()
        self._canonical = schema.canonical
        self._values: Callable[[Row], tuple[Any, ...]] | None = None
        if isinstance(schema, DiffSchema) and schema.exact and len(schema.attributes) > 1:
            self._values = itemgetter(*schema.attributes)

    def __call__(self, row: Row) -> bytes:
        """16 bytes. Raises Invalid for a row that is not JSON."""
        return self.many([row])[0]

    def many(self, rows: Sequence[Row]) -> list[bytes]:
        """Those of many rows, in their order: at once, if they are as rows mostly are."""
        found = self._of_values(rows)
        if found is not None:
            return found
        if len(rows) == 1:
            return [digest(self._canonical(rows[0]))]
        return [self.many([row])[0] for row in rows]

    def _of_values(self, rows: Sequence[Row]) -> list[bytes] | None:
        """Digests of the values alone, as JSON lists: no dictionary is made or sorted, and JSON is written once for all rows.

        None where a row lacks an attribute, or holds what JSON does not have.
        """
        if self._values is None or not rows:
            return None
        try:
            values = list(map(self._values, rows))
            parts: list[Any] = [_BREAK] * (2 * len(values))
            parts[::2] = values
            # JSON has no line break in itself, so that each one is where a row ends.
            whole = orjson.dumps(parts, option=_JSON)
        except (KeyError, TypeError):
            return None
        # orjson writes what is not a number as null, too: only where as many nulls are written as there are None is a row JSON
        # for certain. A row has no fewer nulls than None, so that the sums are equal only if each row's are.
        if b"null" in whole and whole.count(b"null") != sum(row.count(None) for row in values):
            return None
        blake2b = hashlib.blake2b
        return [blake2b(one, digest_size=DIGEST_BYTES).digest() for one in whole[1:-3].split(b",\n,")]


def writable(schema: Schema) -> Schema:
    """The schema of what can be written: without what is computed."""
    if not isinstance(schema, DiffSchema) or not schema.computed:
        return schema
    attributes = tuple(name for name in schema.attributes if name not in schema.computed)
    tolerance = {name: width for name, width in schema.tolerance.items() if name in attributes}
    return replace(schema, attributes=attributes, tolerance=tolerance)


def compared(schema: Schema, row: Row) -> dict[str, Any]:
    """The part of a row that counts."""
    if not isinstance(schema, DiffSchema):
        return dict(row)
    return {name: row[name] for name in schema.attributes if name in row}


def merged(schema: Schema, row: Row, onto: Row | None, beside: Row | None = None) -> dict[str, Any]:
    """What is to be written so that an object comes to hold `row`: of one that is there (`onto`) only what is compared
    changes; a new one has the rest from the object `beside` it. Nothing is written to what is computed.
    """
    if not isinstance(schema, DiffSchema):
        return dict(row)
    rest = onto
    if rest is None:
        shown = {*schema.identifiers, *schema.ignored} - {*schema.computed}
        rest = {name: value for name, value in (beside or row).items() if name in shown}
    written = [name for name in schema.attributes if name not in schema.computed]
    return {name: value for name, value in rest.items() if name not in written} | {
        name: row[name] for name in written if name in row
    }
