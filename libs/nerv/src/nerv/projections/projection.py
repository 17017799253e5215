# SPDX-License-Identifier: Apache-2.0
"""A projection of an app, ready to fold: which events it takes, under which keys, and how its state is written."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, reduce
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic

import orjson
from pydantic import TypeAdapter

from nerv.app import App, ProjectionSpec
from nerv.app.specs import KeyRule
from nerv.errors import Misconfigured, TooLarge
from nerv.history.fingerprint import fingerprint
from nerv.model import EventModel, event_of
from nerv.projections.indexes import Indexes
from nerv.types import Description, Event, S, check_id, format_instant
from nerv.types.ids import ID_LIMIT

if TYPE_CHECKING:
    from nerv.cloudevents import Incoming

MAX_KEYS = 1024  # keys that one event may go to; in the mesh each is a record of the rekeyed topic

MERGED = "all"  # the key of a state that is merged of parts

_STRICT = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS


class Projection(Generic[S]):
    """A projection of the app, ready to fold (`nerv.protocols.Projectable`), and the keys that its events go to."""

    def __init__(self, app: App, spec: ProjectionSpec) -> None:
        self.name = spec.name
        self.spec = spec
        self.types = frozenset(app.folded(spec))
        self.snapshots = app.snapshot_policy(spec.category)
        self.rekeyed = spec.rekeyed
        self.merged = spec.merge is not None
        self.window = spec.window
        self.of_one_stream = (
            not self.rekeyed and not self.merged and spec.window is None
        )  # each state is that of one stream
        self.decode = app.decode
        self.indexes = Indexes(spec.name, spec.indexes) if spec.indexes else None
        self._app = app
        self._key_of = key_function(spec.key)
        self.function: Callable[[S | None, EventModel], S | None] = spec.function
        # A bare dict holds JSON and nothing else: what the fold gets back from the store must equal what it gave.
        self._adapter = None if spec.state is dict else TypeAdapter(spec.state)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the code that its states depend on (see `nerv.history.fingerprint`)."""
        return fingerprint(self._app, self.spec)

    def describe(self) -> Description:
        """The projection as data: what it folds, and of which streams."""
        source = (
            "every stream, by key" if self.rekeyed else "every stream" if self.merged else f"{self.spec.category}-*"
        )
        sources = self.spec.topics or (source,)
        return Description("Projection", self.name, inputs=(*sorted(self.types), *sources), outputs=(self.name,))

    def keys(self, event: "Event[bytes] | Incoming", part: str | None = None) -> tuple[str, ...]:
        """The keys that an event goes to, each in its window; none for an event that is not of this projection.

        Of a record of a topic, `part` is the key of the record, for a projection that names no other, or the part of a merged
        one. Raises what the app's key rule raises, SchemaMismatch, Invalid or TooLarge.
        """
        found = self._of_topic(event, part) if self.spec.topics else self._entities(event)
        if self.window is None or not found:
            return found
        start = format_instant(self.window.start(event_of(event).time))
        return tuple(check_id(f"{key}@{start}", f"key of projection {self.name}") for key in found)

    def _entities(self, event: "Event[bytes] | Incoming") -> tuple[str, ...]:
        if event.type not in self.types or event.subject is None:
            return ()
        if self.merged:
            return (MERGED,)
        if not self.rekeyed:
            category, _, entity = event.subject.partition("-")  # as `category_of` and `entity_of` do, once for both
            return (entity or category,) if category == self.spec.category else ()
        return self._by_rule(event)

    def _of_topic(self, event: "Event[bytes] | Incoming", part: str | None) -> tuple[str, ...]:
        if event.type not in self.types:
            return ()
        if self.spec.key is not None:
            return self._by_rule(event)
        if self.merged:
            return (part or MERGED,)
        return checked_keys(self.name, part or event.subject)

    def _by_rule(self, event: "Event[bytes] | Incoming") -> tuple[str, ...]:
        decoded = self.decode(event)
        found = self._key_of(decoded.meta.type, decoded)
        if type(found) is str and found and len(found) <= ID_LIMIT and found.isprintable():
            return (found,)  # nearly always
        return checked_keys(self.name, found)

    def dump(self, state: S | None) -> bytes:
        """The state as JSON. Raises TypeError or pydantic's errors for a state that is not of the declared type."""
        if self._adapter is None or state is None:
            return orjson.dumps(state, option=_STRICT)
        return self._adapter.dump_json(state)

    def entries(self, state: S | None) -> tuple[str, ...]:
        """What a state is found by in the declared indexes. Raises Invalid, TooLarge, or what a function of the app raises."""
        return () if self.indexes is None else self.indexes.entries(state)

    def merge(self, parts: Iterable[bytes]) -> bytes:
        """One state of the parts that the partitions have folded. Raises what the app's function raises."""
        if self.spec.merge is None:
            raise Misconfigured(f"projection {self.name} declares no merge")
        states = [state for part in parts if (state := self.load(part)) is not None]
        return self.dump(reduce(self.spec.merge, states) if states else None)

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
