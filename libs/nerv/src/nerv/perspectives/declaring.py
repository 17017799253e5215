# SPDX-License-Identifier: Apache-2.0
"""What a perspective class declares, read from its annotations and checked."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel

from nerv.errors import Misconfigured
from nerv.perspectives.diffing import DiffSchema
from nerv.perspectives.markers import Identifier, Ignored, Tolerance

M = TypeVar("M")
MARKERS = (Identifier, Ignored, Tolerance)
NUMBERS = (int, float)
KEYS = (str, int)
CLASSES = 4096  # schemas that are kept; classes are few, and made at import


@dataclass(frozen=True, slots=True)
class Declared:
    """A field that a perspective shows: its type without annotations, and its markers."""

    name: str
    annotation: Any
    markers: tuple[Any, ...]
    computed: bool

    def marker(self, kind: type[M]) -> M | None:
        """The field's marker of a kind."""
        return next((marker for marker in self.markers if isinstance(marker, kind)), None)


def checked_fields(cls: type[BaseModel]) -> tuple[Declared, ...]:
    """The fields that a class shows, in the order of their declaration. Raises Misconfigured for contradictory ones."""
    fields = tuple(_declared(cls))
    for declared in fields:
        _check(cls.__name__, declared)
    return fields


@lru_cache(CLASSES)
def diff_schema(cls: type[BaseModel]) -> DiffSchema:
    """The diffing schema of a perspective. Raises Misconfigured for one without an identifier."""
    fields = checked_fields(cls)
    identifiers = tuple(one.name for one in fields if one.marker(Identifier))
    ignored = tuple(one.name for one in fields if one.marker(Ignored))
    attributes = tuple(one.name for one in fields if one.name not in (*identifiers, *ignored))
    tolerances = {one.name: found.absolute for one in fields if (found := one.marker(Tolerance)) is not None}
    computed = tuple(one.name for one in fields if one.computed)
    return DiffSchema(cls.__name__, identifiers, attributes, ignored, computed, tolerances)


def _declared(cls: type[BaseModel]) -> Iterator[Declared]:
    for name, info in cls.model_fields.items():
        if not info.exclude:
            plain, markers = _plain(info.annotation)
            yield Declared(name, plain, (*info.metadata, *markers), computed=False)
    for name, found in cls.model_computed_fields.items():
        plain, markers = _plain(found.return_type)
        yield Declared(name, plain, markers, computed=True)


def _plain(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    if get_origin(annotation) is not Annotated:
        return annotation, ()
    inner, *markers = get_args(annotation)
    return inner, tuple(markers)


def _check(owner: str, declared: Declared) -> None:
    where = f"{owner}.{declared.name}"
    used = [marker for marker in declared.markers if isinstance(marker, MARKERS)]
    if len(used) > 1:
        names = ", ".join(type(marker).__name__ for marker in used)
        raise Misconfigured(f"{where} is marked {names}; a field has one of them")
    if declared.marker(Tolerance) and not _made_of(declared.annotation, NUMBERS):
        raise Misconfigured(
            f"{where} has a tolerance and is no number; a tolerance is for int, float, or these or None"
        )
    if declared.marker(Identifier) and (declared.computed or not _made_of(declared.annotation, KEYS, none=False)):
        raise Misconfigured(f"{where} is an identifier; those are fields of type str or int that are not computed")


def _made_of(annotation: Any, kinds: tuple[type, ...], *, none: bool = True) -> bool:
    """Whether a type is one of `kinds`, or a union of them. What is not resolved yet is checked when it is used."""
    if isinstance(annotation, str) or type(annotation).__name__ == "ForwardRef":
        return True
    plain, _ = _plain(annotation)
    if get_origin(plain) in (Union, UnionType):
        return all(_made_of(part, kinds, none=none) for part in get_args(plain))
    if plain is NoneType:
        return none
    return isinstance(plain, type) and issubclass(plain, kinds) and not issubclass(plain, bool)
