# SPDX-License-Identifier: Apache-2.0
"""The decisions of the projector, pure: which keys an event goes to, what is a double, what a key's events fold into."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Generic, TypeVar

import orjson
from pydantic import TypeAdapter

from nerv.app import App, ProjectionSpec
from nerv.app.specs import KeyRule
from nerv.errors import TooLarge
from nerv.model import EventModel
from nerv.protocols.views import View
from nerv.types import Event, category_of, check_id, entity_of
from nerv.types.ids import ID_LIMIT

S = TypeVar("S")

MAX_KEYS = 1024  # keys that one event may go to; each is a record of the rekeyed topic
_ORDINAL_BITS = 10

_STRICT = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS


class Projection(Generic[S]):
    """A projection of the app, ready to fold: its types, keys, and how its state is written and read."""

    def __init__(self, app: App, spec: ProjectionSpec) -> None:
        self.name = spec.name
        self.spec = spec
        self.types = frozenset(app.folded(spec))
        self.rekeyed = spec.key is not None
        self.decode = app.decode
        self._key_of = key_function(spec.key)
        self.function: Callable[[S | None, EventModel], S | None] = spec.function
        # A bare dict holds JSON and nothing else: what the fold gets back from the store must equal what it gave.
        self._adapter = None if spec.state is dict else TypeAdapter(spec.state)

    def keys(self, event: Event[bytes]) -> tuple[str, ...]:
        """The keys that an event of history goes to; none for an event that is not of this projection.

        Raises what the app's key rule raises, SchemaMismatch, Invalid or TooLarge.
        """
        if event.type not in self.types or event.subject is None:
            return ()
        if not self.rekeyed:
            return (entity_of(event.subject),) if category_of(event.subject) == self.spec.category else ()
        found = self._key_of(event.type, self.decode(event))
        if type(found) is str and found and len(found) <= ID_LIMIT and found.isprintable():
            return (found,)  # nearly always
        return checked_keys(self.name, found)

    def dump(self, state: S | None) -> bytes:
        """The state as JSON. Raises TypeError or pydantic's errors for a state that is not of the declared type."""
        if self._adapter is None or state is None:
            return orjson.dumps(state, option=_STRICT)
        return self._adapter.dump_json(state)

    def load(self, data: bytes) -> S | None:
        """The state that was written."""
        if self._adapter is None or data == b"null":
            state: S | None = orjson.loads(data)
            return state
        loaded: S = self._adapter.validate_json(data)
        return loaded


def key_function(rule: KeyRule) -> Callable[[str, EventModel], Any]:
    """What a key rule says of an event and its type, unchecked: a field, a field for its type, or a function."""
    if rule is None:
        return lambda kind, event: None
    if isinstance(rule, str):
        field = attrgetter(rule)
        return lambda kind, event: field(event)
    if isinstance(rule, Mapping):
        fields = {kind: attrgetter(name) for kind, name in rule.items()}
        return lambda kind, event: fields[kind](event) if kind in fields else None
    return lambda kind, event: rule(event)


def checked_keys(projection: str, found: Any) -> tuple[str, ...]:
    """The keys in what a key rule says: each once, empty ones left out. Raises Invalid or TooLarge."""
    values = found if isinstance(found, list | tuple) else (found,)
    keys = tuple(dict.fromkeys(str(value) for value in values if value is not None and value != ""))
    if len(keys) > MAX_KEYS:
        raise TooLarge(f"projection {projection} gives an event {len(keys)} keys; the limit is {MAX_KEYS}")
    return tuple(check_id(key, f"key of projection {projection}") for key in keys)


def origin_position(offset: int, ordinal: int) -> int:
    """Where a rekeyed record comes from, in one number: the offset in history, then the key's place among its keys."""
    return offset << _ORDINAL_BITS | ordinal


@dataclass(frozen=True, slots=True)
class Poison:
    """The event, counted from the first of its batch, at which a key was parked, and why."""

    index: int
    cause: str


@dataclass(frozen=True, slots=True)
class Entity(Generic[S]):
    """One key's state in memory; what `View` is in the store."""

    version: int = 0
    state: S | None = None
    parked: Mapping[str, str] | None = None


def entity_of_view(projection: Projection[S], view: View | None) -> Entity[S]:
    """What is folded so far of a key."""
    if view is None:
        return Entity()
    return Entity(view.version, projection.load(view.state), view.parked)


def fold(projection: Projection[S], entity: Entity[S], events: Sequence[Event[bytes]]) -> tuple[Entity[S], View]:
    """Fold a key's events, in order. Raises whatever the app raises; then nothing of `entity` is to be used again."""
    state, function, decode = entity.state, projection.function, projection.decode
    for event in events:
        state = function(state, decode(event))
    version = entity.version + len(events)
    return Entity(version, state), View(version, projection.dump(state))


def fold_with_care(
    projection: Projection[S], view: View | None, events: Sequence[Event[bytes]], where: Sequence[str]
) -> tuple[View, Poison | None]:
    """Fold a key's events one by one from the stored view, writing the state after each, up to the one that fails.

    The key is then parked as it stood before that event. `where` gives each event's position, for the record.
    """
    current = view or View(0, b"null")
    for index, event in enumerate(events):
        try:
            _, current = fold(projection, entity_of_view(projection, current), [event])
        except Exception as error:  # whatever the app's code raises is the cause
            cause = describe(error)
            parked = {"event": event.id, "type": event.type, "position": where[index], "cause": cause}
            return View(current.version, current.state, parked), Poison(index, cause)
    return current, None


def describe(error: BaseException) -> str:
    """The class and the first 500 characters of what an error says."""
    return f"{type(error).__name__}: {error}"[:500]


def fold_as_of(projection: Projection[S], events: Sequence[Event[bytes]]) -> View:
    """The view that these events give, in this order. Raises whatever the app raises."""
    return fold(projection, Entity(), events)[1]
