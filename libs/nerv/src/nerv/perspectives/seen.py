# SPDX-License-Identifier: Apache-2.0
"""A view as an object: it reads its fields from the state, some at once, the others when they are first looked at."""

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, SerializationInfo, SerializerFunctionWrapHandler, model_serializer

from nerv.errors import Forbidden
from nerv.perspectives.declaring import fields_of
from nerv.perspectives.markers import Redacted

if TYPE_CHECKING:
    from nerv.perspectives.plan import Plan

HIDDEN = "<redacted>"
V = TypeVar("V", bound="Seen")
_set = object.__setattr__  # a view is frozen, to everybody else


class Seen(BaseModel):
    """The mechanics of a view. Views are equal when what they hold is; a copy or pickle holds that, and not the state."""

    __slots__ = ("_reader", "_state")  # neither is set in one that was made by hand, is a copy, or comes from a pickle

    model_config = ConfigDict(frozen=True, extra="ignore", from_attributes=True, hide_input_in_errors=True)

    if TYPE_CHECKING:
        _state: Any
    else:  # a type checker knows the fields, and that there are no others

        def __getattr__(self, name: str) -> Any:
            """A field that was not read yet. Raises Forbidden for a hidden one, SchemaMismatch for one that does not fit."""
            reader = _reader(self) if name in type(self).__pydantic_fields__ else None
            if reader is None:
                return super().__getattr__(name)
            found = self.__dict__[name] = reader.one(self._state, name)
            return found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Seen) or type(other) is not type(self):
            return NotImplemented
        return _values(self) == _values(other)

    def __hash__(self) -> int:
        return hash((type(self), frozenset(_values(self).items())))

    def __repr_args__(self) -> Any:
        """What was read; of what is redacted for anybody, that it was."""
        fields = fields_of(type(self))
        for name, value in self.__dict__.items():
            if name in type(self).model_fields:
                yield name, HIDDEN if fields[name].marker(Redacted) else value

    def __getstate__(self) -> dict[Any, Any]:
        _values(self)
        return super().__getstate__()

    def __copy__(self) -> Self:
        _values(self)
        return super().__copy__()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        _values(self)
        return super().__deepcopy__(memo)

    @model_serializer(mode="wrap")
    def _serialize(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:
        reader = _reader(self)
        if reader is not None:
            return reader.show(reader.load(self._state), info.mode)
        return _redacted(type(self), handler(self))


def made(cls: type[V], reader: "Plan[Any]", state: Any, data: dict[str, Any]) -> V:
    """A view that holds `data`, which was validated, and reads the rest from the state when it is looked at."""
    view = cls.__new__(cls)
    _set(view, "__dict__", data)
    _set(view, "__pydantic_fields_set__", set(data))
    _set(view, "__pydantic_extra__", None)
    _set(view, "__pydantic_private__", None)
    _set(view, "_reader", reader)
    _set(view, "_state", state)
    return view


def _reader(view: Seen) -> "Plan[Any] | None":
    found: Plan[Any] | None = getattr(view, "_reader", None)
    return found


def _values(view: Seen) -> dict[str, Any]:
    """What a view holds, read now as far as it was not; of what is computed from something hidden, nothing."""
    reader = _reader(view)
    if reader is None:
        return {name: view.__dict__[name] for name in type(view).model_fields if name in view.__dict__}
    found = {name: getattr(view, name) for name in reader.stored}
    for name in reader.computed:
        with suppress(Forbidden):
            found[name] = getattr(view, name)
    return found


def _redacted(cls: type[Seen], data: dict[str, Any]) -> dict[str, Any]:
    """Of an object that was not read for anybody, what everybody may see."""
    for name, declared in fields_of(cls).items():
        found = declared.marker(Redacted)
        if found is not None and name in data:
            data[name] = found.mask
            if found.mask is None:
                del data[name]
    return data
