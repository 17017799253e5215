# SPDX-License-Identifier: Apache-2.0
"""Two sides that *sync* keeps equal, as an app declares them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nerv.errors import Misconfigured
from nerv.perspectives import Perspective
from nerv.protocols.side import Row, Side
from nerv.sync.plan import Direction
from nerv.sync.schema import Schema, WholeRow
from nerv.sync.strategies import AskPerson, Strategy

if TYPE_CHECKING:
    from nerv.client import Client


class Pair(ABC):
    """Set the class attributes, write `left` and `right`, and declare it with `@app.sync("name")`.

    `perspective` is the diffing schema, too; without one whole rows are compared, told apart by `identifiers`. In both
    directions `strategy` says who wins. `scope` narrows it to the objects whose fields have one of the values given. A run of
    the sync that it is `under` runs it, too: after that has made objects, before it removes any.
    """

    perspective: ClassVar[type[Perspective] | None] = None
    identifiers: ClassVar[tuple[str, ...]] = ()
    direction: ClassVar[Direction] = Direction.TO_RIGHT
    strategy: ClassVar[Strategy] = AskPerson()
    scope: ClassVar[Mapping[str, Sequence[Any]]] = {}
    delete_guard: ClassVar[float | None] = None  # None: that of the service
    approval: ClassVar[bool] = False  # only a plan that a person has approved is applied
    schedule: str | None = None  # cron, UTC: when to run
    events: ClassVar[tuple[str, ...]] = ()  # event types of history after which to run
    under: str | None = None  # the sync that keeps what these objects hang under, such as the sites of racks
    verification: ClassVar[str | None] = None  # cron, UTC: when to read both sides whole, whatever the feeds have told

    @abstractmethod
    def left(self, mesh: "Client") -> Side:
        """One side. One that is an async context manager is opened before it is used, and closed in the end."""

    @abstractmethod
    def right(self, mesh: "Client") -> Side:
        """The other side."""

    def parent(self, row: Row) -> str | None:
        """The key of the object that has to be there before this one, such as the site of a rack; None where there is none."""
        return None

    def schema(self) -> Schema:
        """How rows are compared. Raises Misconfigured."""
        if self.perspective is not None:
            return self.perspective.diff_schema()
        name = type(self).__name__
        if not self.identifiers:
            raise Misconfigured(f"{name} needs a perspective, or identifiers that tell its rows apart")
        return WholeRow(name.lower(), self.identifiers)

    def has_parents(self) -> bool:
        """Whether its objects have an order."""
        return type(self).parent is not Pair.parent
