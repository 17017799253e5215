# SPDX-License-Identifier: Apache-2.0
"""The decisions of the projector, pure: which keys an event goes to, what is a double, what a key's events fold into."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from nerv.model import Envelope
from nerv.projections import Projection
from nerv.protocols.views import Cursor, View

S = TypeVar("S")

NOTHING = b"null"  # the state of an entity that has been removed, or of which nothing is folded yet

_ORDINAL_BITS = 10  # 2^10 is as many keys as an event may have (nerv.projections.MAX_KEYS)


def versioned(name: str, version: int) -> str:
    """The name of what works for a version of a projection."""
    return name if version == 1 else f"{name}.{version}"


def origin_position(offset: int, ordinal: int) -> int:
    """Where a rekeyed record comes from, in one number: the offset in history, then the key's place among its keys."""
    return offset << _ORDINAL_BITS | ordinal


@dataclass(frozen=True, slots=True)
class Poison:
    """The event, counted from the first of its batch, at which a key was parked, and why."""

    index: int
    cause: str
    attempt: int = 1


@dataclass(slots=True)  # not frozen, for one is made for every key of every batch; nobody changes one
class Entity(Generic[S]):
    """One key's state in memory, and `data`, the same as it is written; what `View` is in the store."""

    version: int = 0
    state: S | None = None
    data: bytes = NOTHING
    parked: Mapping[str, str] | None = None
    index: tuple[str, ...] = ()

    def view(self, partition: int = 0) -> View:
        """As it is stored, of this partition."""
        return View(self.version, self.data, self.parked, self.index, partition)


def entity_of_view(projection: Projection[S], view: View | None) -> Entity[S]:
    """What is folded so far of a key."""
    if view is None:
        return Entity()
    return Entity(view.version, projection.load(view.state), view.state, view.parked, view.index)


def fold(projection: Projection[S], entity: Entity[S], events: Sequence[Envelope]) -> Entity[S]:
    """Fold a key's events, in order. Raises whatever the app raises; then nothing of `entity` is to be used again."""
    state, function, decode = entity.state, projection.function, projection.decode
    for event in events:
        state = function(state, decode(event))
    data = projection.dump(state)
    index = () if projection.indexes is None else projection.indexes.entries(state)
    return Entity(entity.version + len(events), state, data, None, index)


def fold_with_care(
    projection: Projection[S], view: View | None, events: Sequence[Envelope], where: Sequence[str], since: Cursor
) -> tuple[View, Poison | None]:
    """Fold a key's events one by one from the stored view, writing the state after each, up to the one that fails.

    The key is then parked as it stood before that event. `where` gives each event's position, `since` a cursor before the
    first of them: from there all that came of the key can be read again. A view that was parked is folded on.
    """
    before = {} if view is None else view.parked or {}
    current = View(0, NOTHING) if view is None else replace(view, parked=None)
    for index, event in enumerate(events):
        try:
            current = fold(projection, entity_of_view(projection, current), [event]).view(current.partition)
        except Exception as error:  # whatever the app's code raises is the cause
            cause = describe(error)
            parked = {"event": event.id, "type": event.type, "position": where[index], "cause": cause}
            attempt = attempt_of(before) + 1 if before.get("event") == event.id else 1
            parked |= {"attempt": str(attempt), "since": base64.b64encode(since.to_bytes()).decode()}
            return replace(current, parked=parked), Poison(index, cause, attempt)
    return current, None


def attempt_of(parked: Mapping[str, str]) -> int:
    """How often the event was tried at which a key is parked."""
    return int(parked.get("attempt", "1"))


def since_of(parked: Mapping[str, str]) -> Cursor:
    """A cursor before the event at which a key is parked."""
    return Cursor.from_bytes(base64.b64decode(parked["since"]))


def describe(error: BaseException) -> str:
    """The class and the first 500 characters of what an error says."""
    return f"{type(error).__name__}: {error}"[:500]


def fold_as_of(projection: Projection[S], events: Sequence[Envelope]) -> View:
    """The view that these events give, in this order. Raises whatever the app raises."""
    return fold(projection, Entity(), events).view()
