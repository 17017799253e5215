# SPDX-License-Identifier: Apache-2.0
"""What a perspective class declares, read from its annotations and checked."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel
from pydantic.errors import PydanticUndefinedAnnotation
from pydantic.fields import FieldInfo

from nerv.errors import Misconfigured
from nerv.perspectives.annotations import made_of, parts_of
from nerv.perspectives.diffing import DiffSchema
from nerv.perspectives.markers import Identifier, Ignored, Lazy, Once, Path, Redacted, Source, Tolerance

M = TypeVar("M")
MARKERS = (Source, Lazy, Redacted, Identifier, Ignored, Tolerance)
COMPARED = (Identifier, Ignored, Tolerance)  # of which a field has one at most
STORED = (Source, Lazy, Identifier)  # that say nothing of what is computed
NUMBERS = (int, float)
KEYS = (str, int)
OURS = "_serialize"  # the one serializer of a model that views have
CLASSES = 4096  # whose declarations are kept; classes are few, and made at import


@dataclass(frozen=True, slots=True)
class Declared:
    """A field of a perspective: its type, its markers, pydantic's notes on a stored one (None: it is computed).

    `guarded` says whether a computed one can be hidden in a view as an object: it was declared by `@computed`.
    """

    name: str
    annotation: Any
    markers: tuple[Any, ...]
    info: FieldInfo | None
    guarded: bool = True

    def marker(self, kind: type[M]) -> M | None:
        """The field's marker of a kind."""
        return next((marker for marker in self.markers if isinstance(marker, kind)), None)

    @property
    def shown(self) -> bool:
        """Whether readers see it; `Field(exclude=True)` keeps it for what is computed."""
        return self.info is None or not self.info.exclude

    @property
    def path(self) -> Path:
        """Where in the state it is."""
        source = self.marker(Source)
        return (self.name,) if source is None else source.path


@lru_cache(CLASSES)
def fields_of(cls: type[BaseModel]) -> dict[str, Declared]:
    """The fields of a class by name, in the order of their declaration, computed ones last.

    Raises Misconfigured for contradictory ones, and where a type that is named does not exist.
    """
    if not cls.__pydantic_complete__:
        try:
            cls.model_rebuild()
        except PydanticUndefinedAnnotation as error:
            raise Misconfigured(
                f"{cls.__name__} names {error.name}, which is not there; import or declare it"
            ) from None
    return checked_fields(cls)


def checked_fields(cls: type[BaseModel]) -> dict[str, Declared]:
    """The same as a class is made, when types that are declared below it are not known yet."""
    fields = {declared.name: declared for declared in _declared(cls)}
    for declared in fields.values():
        _check(f"{cls.__name__}.{declared.name}", declared)
    return fields


@lru_cache(CLASSES)
def diff_schema(cls: type[BaseModel]) -> DiffSchema:
    """The diffing schema of a perspective. Raises Misconfigured for one without an identifier."""
    fields = [declared for declared in fields_of(cls).values() if declared.shown]
    identifiers = tuple(one.name for one in fields if one.marker(Identifier))
    ignored = tuple(one.name for one in fields if one.marker(Ignored))
    attributes = tuple(one.name for one in fields if one.name not in (*identifiers, *ignored))
    tolerances = {one.name: found.absolute for one in fields if (found := one.marker(Tolerance)) is not None}
    computed = tuple(one.name for one in fields if one.info is None)
    return DiffSchema(cls.__name__, identifiers, attributes, ignored, computed, tolerances)


def check_class(cls: type[BaseModel], reserved: frozenset[str]) -> None:
    """Refuse what a view of some of the fields could not honour, or would read in two ways. Raises Misconfigured."""
    decorators = cls.__pydantic_decorators__
    validators = [*decorators.field_validators, *decorators.model_validators, *decorators.validators]
    serializers = [*decorators.field_serializers, *(set(decorators.model_serializers) - {OURS})]
    for name in [*validators, *serializers, *decorators.root_validators]:
        raise Misconfigured(
            f"{cls.__name__}.{name} is a validator or serializer of the model; a view may hold some of the fields only: "
            "write it into the type of the field, as Annotated[..., AfterValidator(...)] or PlainSerializer"
        )
    if cls.__private_attributes__ or cls.model_post_init is not BaseModel.model_post_init:
        raise Misconfigured(
            f"{cls.__name__} has private attributes or model_post_init; a view holds what the state says"
        )
    if cls.model_config.get("extra") != "ignore":
        raise Misconfigured(f"{cls.__name__}: a view shows the fields that it declares; leave `extra` as it is")
    for name in sorted(reserved.intersection([*cls.model_fields, *vars(cls)])):
        raise Misconfigured(
            f'{cls.__name__}.{name} is a method of views; name a field otherwise, with Source("{name}")'
        )


def _declared(cls: type[BaseModel]) -> Iterator[Declared]:
    for name, info in cls.model_fields.items():
        yield Declared(name, info.annotation, tuple(info.metadata), info)
    for name, found in cls.model_computed_fields.items():
        annotation, markers = found.return_type, ()
        if get_origin(annotation) is Annotated:
            markers = get_args(annotation)[1:]
        yield Declared(name, annotation, markers, None, isinstance(found.wrapped_property, Once))


def _check(where: str, declared: Declared) -> None:
    used = [marker for marker in declared.markers if isinstance(marker, MARKERS)]
    kinds = [type(marker).__name__ for marker in used if isinstance(marker, COMPARED)]
    if len(kinds) > 1:
        raise Misconfigured(f"{where} is marked {', '.join(kinds)}; a field has one of them")
    for marker in used:
        _check_marker(where, declared, marker)
    inner = _inner_markers(declared)
    if inner:
        raise Misconfigured(
            f"{where}: {inner[0]} stands inside of the type; it belongs around the whole: Annotated[..., it]"
        )
    if declared.info is not None:
        _check_info(where, declared.info)


def _check_marker(where: str, declared: Declared, marker: Any) -> None:
    if isinstance(marker, Tolerance) and not made_of(declared.annotation, NUMBERS, none=True):
        raise Misconfigured(
            f"{where} has a tolerance and is no number; a tolerance is for int, float, or these or None"
        )
    if isinstance(marker, Identifier) and not made_of(declared.annotation, KEYS, none=False):
        raise Misconfigured(f"{where} is an identifier; those are fields of type str or int that are not computed")
    if isinstance(marker, Redacted) and not declared.guarded:
        raise Misconfigured(f"{where} is redacted; declare it by @computed of nerv.perspectives, which keeps it hidden")
    if isinstance(marker, STORED) and declared.info is None:
        raise Misconfigured(f"{where} is computed; {type(marker).__name__} is for what is read from the state")


def _check_info(where: str, info: FieldInfo) -> None:
    if info.alias is not None or info.validation_alias is not None or info.serialization_alias is not None:
        raise Misconfigured(f"{where} has an alias; say where it is read from: Annotated[..., Source('name')]")
    if info.default_factory_takes_validated_data:
        raise Misconfigured(
            f"{where}: its default is made from other fields, which a view may not hold; compute the field"
        )


def _inner_markers(declared: Declared) -> list[Any]:
    """Markers where pydantic would not show them to us, so that a redaction could go unseen."""
    inside = [part for part in parts_of(declared.annotation) if get_origin(part) is Annotated]
    if declared.info is None:  # of what is computed, those around the whole are the field's own
        inside = [part for part in inside if part is not declared.annotation]
    return [marker for part in inside for marker in part.__metadata__ if isinstance(marker, MARKERS)]
