# SPDX-License-Identifier: Apache-2.0
"""How states become views: compiled once for a perspective, the fields asked for, and the scopes that the reader lacks.

Hidden fields are no part of a plan, so that they are never read. Nothing else is read, either, but what was asked for and what
computed fields look at.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property, lru_cache
from itertools import islice
from typing import Annotated, Any, Generic, NotRequired

from pydantic import Field, PlainSerializer, PlainValidator, TypeAdapter, ValidationError, WithJsonSchema
from pydantic.fields import FieldInfo

from nerv.errors import Forbidden, SchemaMismatch
from nerv.model import faults_of
from nerv.perspectives.annotations import replaced
from nerv.perspectives.declaring import Declared, fields_of
from nerv.perspectives.markers import Lazy, Redacted
from nerv.perspectives.reading import Reading, typed_dict
from nerv.perspectives.seen import Seen, V, made
from nerv.perspectives.selecting import Selection, as_fields, missing, nested, redacted_of, scopes_of, selected
from nerv.types.principal import Principal

PLANS = 1024  # compiled ones that are kept; readers choose fields, so there may be any number


def plan_for(cls: type[V], fields: Sequence[str] | None, viewer: Principal | None) -> "Plan[V]":
    """The plan for these fields and this reader. Raises Invalid for fields that there are not."""
    names = as_fields(fields)
    return whole_plan(cls, None if names is None else selected(cls, names), missing(cls, viewer))


def whole_plan(cls: type[V], selection: Selection | None, lacked: frozenset[str]) -> "Plan[V]":
    """The plan for a selection and the scopes that the reader lacks."""
    return _plan(cls, selection, lacked)


class Plan(Generic[V]):
    """Reads views of one class: as objects (`see`), as data (`load`), and JSON-able (`dump`)."""

    def __init__(self, cls: type[V], selection: Selection | None, lacked: frozenset[str]) -> None:
        fields = fields_of(cls)
        below = {name: None for name, one in fields.items() if one.shown} if selection is None else dict(selection)
        self._owner, self._fields, self._below, self._lacked = cls, fields, below, lacked
        redacted = {name: found for name, one in fields.items() if (found := one.marker(Redacted))}
        self._hidden = {name: found for name, found in redacted.items() if found.scope in lacked}
        self._masks = {
            name: found.mask for name, found in self._hidden.items() if found.mask is not None and name in below
        }
        visible = [one for name, one in fields.items() if name not in self._hidden]
        self._stored = [one for one in visible if one.info is not None and one.name in below]
        self._computed = [one.name for one in visible if one.info is None and one.name in below]
        unseen = [one.name for one in visible if not one.shown and selection is None]
        # What a view holds: of some fields also what is computed, for it may not hold what that is computed from.
        self.stored = (*(one.name for one in self._stored), *unseen)
        self.computed = () if selection is None else tuple(self._computed)
        self._singles: dict[str, Reading] = {}

    def require(self, name: str) -> None:
        """Raises Forbidden for a field that is hidden from this reader."""
        found = self._hidden.get(name)
        if found is not None:
            raise Forbidden(f"{self._owner.__name__}.{name} is shown to readers with scope {found.scope}")

    def see(self, state: Any) -> V:
        """A view as an object; lazy fields are read later. Raises SchemaMismatch."""
        try:
            return self._see(state)
        except ValidationError as error:
            raise self._mismatch(error) from None

    def one(self, state: Any, name: str) -> Any:
        """One field of a state. Raises Forbidden for a hidden one, SchemaMismatch."""
        self.require(name)
        reading = self._singles.get(name)
        if reading is None:
            reading = self._singles[name] = self._reading([self._fields[name]], self._as_object)
        try:
            return reading.read(state)[name]
        except ValidationError as error:
            raise self._mismatch(error) from None

    def dump(self, state: Any) -> dict[str, Any]:
        """A view as JSON-able data. Raises SchemaMismatch."""
        try:
            data = self.load(state)
        except ValidationError as error:
            raise self._mismatch(error) from None
        return self.show(data, "json")

    def load(self, state: Any) -> dict[str, Any]:
        """A view as data, not JSON-able yet. Raises pydantic's ValidationError, as it is called by pydantic, too."""
        data = self._loading.read(state)
        if not (self._computed or self._masks):
            return data
        known = data.copy()
        for name in self._deep:  # which are data here, and objects to what computes
            del known[name]
        view = made(self._owner, self, state, known)
        for name in self._computed:
            try:
                data[name] = getattr(view, name)
            except Forbidden:  # what it is computed from is hidden from this reader, and so is it
                continue
        data.update(self._masks)
        return {name: data[name] for name in self._below if name in data} if self._masks else data

    def show(self, data: dict[str, Any], mode: str) -> dict[str, Any]:
        """What was loaded, as pydantic dumps it: for JSON, or for Python."""
        found: dict[str, Any] = self._adapter.serializer.to_python(data, mode=mode)
        return found

    def many(self, states: Iterable[Any], ahead: int) -> Iterator[dict[str, Any]]:
        """A dump of each state; up to `ahead` are read ahead, so that pydantic is called once for all of them."""
        waiting = iter(states)
        while batch := list(islice(waiting, ahead)):
            loaded, failure = self._load_all(batch)
            yield from self._all.serializer.to_python(loaded, mode="json")
            if failure is not None:
                raise failure

    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema of what `dump` gives."""
        return self._adapter.json_schema(mode="serialization")

    def shape(self, outer: tuple["Plan[Any]", ...] = ()) -> Any:
        """The typed dict of what is shown; `outer` are those that this one is nested in."""

        def below(name: str) -> Callable[[type], Any]:
            return lambda kind: self._shape_below(name, kind, (*outer, self))

        # What is computed is left out when its inputs are hidden, which shows only when it is computed.
        hides = bool(self._lacked & scopes_of(self._owner))
        shown: dict[str, Any] = {}
        for name in self._below:
            declared = self._fields[name]
            if name in self._masks:
                shown[name] = Annotated[Any, WithJsonSchema({"const": self._masks[name]})]
            elif declared.info is not None and name not in self._hidden:
                shown[name] = _output(replaced(declared.annotation, below(name)), declared.info)
            elif declared.info is None and name not in self._hidden:
                shown[name] = NotRequired[declared.annotation] if hides else declared.annotation
        return typed_dict(self._owner.__name__, self._owner.model_config, shown, self._owner.__doc__)

    def _load_all(self, states: list[Any]) -> tuple[list[dict[str, Any]], Exception | None]:
        """The states up to one that cannot be shown, and why not."""
        if not (self._computed or self._masks):
            with suppress(Exception):  # which state it comes from shows below, and what it is
                return self._loading.read_all(states), None
        loaded: list[dict[str, Any]] = []
        try:
            for state in states:
                loaded.append(self.load(state))  # noqa: PERF401 - those before the failure are kept
        except ValidationError as error:
            return loaded, self._mismatch(error)
        except Exception as error:
            return loaded, error
        return loaded, None

    def _see(self, state: Any) -> V:
        return made(self._owner, self, state, self._seeing.read(state))

    def _nested(self, name: str, kind: type[Seen]) -> "Plan[Any]":
        return whole_plan(kind, self._below.get(name), self._lacked)

    def _as_object(self, name: str, kind: type) -> Any:
        return Annotated[Any, PlainValidator(self._nested(name, kind)._see)] if issubclass(kind, Seen) else kind

    def _as_data(self, name: str, kind: type) -> Any:
        return Annotated[Any, PlainValidator(self._nested(name, kind).load)] if issubclass(kind, Seen) else kind

    def _shape_below(self, name: str, kind: type, outer: tuple["Plan[Any]", ...]) -> Any:
        if not issubclass(kind, Seen):
            return kind
        plan = self._nested(name, kind)
        if plan not in outer:
            return plan.shape(outer)
        # A perspective inside of itself: what is shown of it is made level by level, and described as an object.
        return Annotated[
            Any,
            PlainSerializer(lambda data, info: plan.show(data, info.mode)),
            WithJsonSchema({"type": "object"}, mode="serialization"),
        ]

    def _reading(self, fields: list[Declared], change: Callable[[str, type], Any]) -> Reading:
        def typed(declared: Declared) -> Any:
            return replaced(declared.annotation, lambda kind: change(declared.name, kind))

        return Reading(self._owner.__name__, self._owner.model_config, [(one, typed(one)) for one in fields])

    @cached_property
    def _loading(self) -> Reading:
        return self._reading(self._stored, self._as_data)

    @cached_property
    def _seeing(self) -> Reading:
        return self._reading([one for one in self._stored if one.marker(Lazy) is None], self._as_object)

    @cached_property
    def _deep(self) -> list[str]:
        return [one.name for one in self._stored if nested(one.annotation)]

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.shape())

    @cached_property
    def _all(self) -> TypeAdapter[Any]:
        shape = self.shape()
        return TypeAdapter(list[shape])  # type: ignore[valid-type]  # made while running

    def _mismatch(self, error: ValidationError) -> SchemaMismatch:
        secret, faults = redacted_of(self._owner), faults_of(error)
        for fault in faults:
            parts = fault["path"].split("/")
            within = [place for place, part in enumerate(parts) if part in secret]
            if within:  # a validator may have put the value into its text, and below there may be keys
                fault.update(path="/".join(parts[: within[0] + 1]), detail="is not valid; the field is redacted")
        first = faults[0]
        name = self._owner.__name__
        return SchemaMismatch(f"a state does not fit {name}: {first['path']}: {first['detail']}", errors=faults)


def _output(kind: Any, info: FieldInfo) -> Any:
    """The type of a field as it is shown: serialized and described as declared; it is always there, so it has no default."""
    about = Field(
        title=info.title,
        description=info.description,
        examples=info.examples,
        deprecated=info.deprecated,
        discriminator=info.discriminator,
        json_schema_extra=info.json_schema_extra,
    )
    return Annotated[(kind, *info.metadata, about)]


@lru_cache(PLANS)
def _plan(cls: type[Seen], selection: Selection | None, lacked: frozenset[str]) -> Plan[Any]:
    return Plan(cls, selection, lacked)
