# SPDX-License-Identifier: Apache-2.0
"""The side port: one of the two systems that a sync makes equal."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from nerv.errors import NervError
from nerv.protocols.source import Complete
from nerv.types import Description, Stamp

Row = Mapping[str, Any]
"""The values of an object by name, as JSON has them."""

Version = int | str | None
"""What a conditional write names: the object as it was seen. None: it was never there."""


class Entity(NamedTuple):
    """An object of a side, or (`row` is None) that it has none under this key. `stamp` says when it became so, where known."""

    key: str
    row: Row | None
    version: Version = None
    stamp: Stamp | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the change feed of a side. Another epoch is another feed: what happened between the two, nobody knows.

    `sequence` is what the feed counts by; it means something to its side only.
    """

    epoch: str
    sequence: int | str


@dataclass(frozen=True, slots=True)
class Changes:
    """The keys of all that changed up to `position`, perhaps some more, perhaps one twice."""

    keys: Sequence[str]
    position: Position


class Action(StrEnum):
    """What becomes of an object."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Step:
    """One object to be written on one side, if it still is as it was seen. `before` and `after` are whole rows as canonical
    JSON, None where there is none; `stamp` is when the other side became so, where that is known.
    """

    side: str
    action: Action
    key: str
    before: bytes | None
    after: bytes | None
    version: Version = None
    stamp: Stamp | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """Done; the object has this version now."""

    version: Version


WriteOutcome = Written | NervError
"""Done; or an error whose class says refused (VersionConflict: it is not as it was seen), not done (Unavailable) or unknown."""


class Side(Protocol):
    """Objects under keys. Implemented in `nerv.sync.sides`: a mapping, a source of rows, streams of a history, views.

    Methods that ask another system raise Unavailable when it cannot be reached; nothing has happened then.
    """

    @property
    def name(self) -> str:
        """What people and plans call it."""
        ...

    @property
    def writable(self) -> bool:
        """Whether `write` can succeed at all."""
        ...

    def load(self) -> AsyncIterator[Sequence[Entity] | Complete]:
        """Every object once, in batches, and last the mark that it was all of them. Raises LoadRefused for a partial load."""
        ...

    async def fetch(self, keys: Sequence[str]) -> list[Entity]:
        """The objects of these keys as they are now, in their order; an entity without a row where there is none.

        A side without point reads answers from its latest `load`.
        """
        ...

    async def changes(self, after: Position | None) -> Changes | None:
        """What changed after a position. With None: no keys, and the position of now, from which a `load` can be kept up.

        None when it cannot tell: it has no feed, or the feed has been cut or begun anew since.
        """
        ...

    async def write(self, steps: Sequence[Step]) -> list[WriteOutcome]:
        """Write each, on its condition, for itself; outcomes in their order. A repeat of what was done changes nothing."""
        ...

    def describe(self) -> Description:
        """The side as data."""
        ...
