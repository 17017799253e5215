# SPDX-License-Identifier: Apache-2.0
"""Looking into types: what they are made of, and the same with other classes inside."""

from collections.abc import Callable, Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from nerv.errors import Misconfigured


def parts_of(annotation: Any) -> Iterator[Any]:
    """A type and all that it is made of; of an alias (`type Name = ...`) what it stands for, once, for it may name itself."""
    waiting, aliases = [annotation], []
    while waiting:
        part = waiting.pop()
        if not _is_alias(part):
            yield part
            waiting += reversed(_arguments(part))
        elif part not in aliases:
            aliases.append(part)
            waiting.append(part.__value__)


def replaced(annotation: Any, change: Callable[[type], Any], within: tuple[Any, ...] = ()) -> Any:
    """A type in which each class is what `change` makes of it; the very same one if that is nothing else.

    `within` are the aliases that it is part of. Raises Misconfigured for one that names itself, with a class that changes in it.
    """
    if isinstance(annotation, type):
        return change(annotation)
    if _is_alias(annotation):
        if annotation in within:
            if any(isinstance(part, type) and change(part) is not part for part in parts_of(annotation)):
                raise Misconfigured(
                    f"type {annotation} names itself and holds a perspective; let the perspective hold itself"
                )
            return annotation
        found = replaced(annotation.__value__, change, (*within, annotation))
        return annotation if found is annotation.__value__ else found
    arguments = _arguments(annotation)
    new = tuple(replaced(argument, change, within) for argument in arguments)
    if all(one is other for one, other in zip(new, arguments, strict=True)):
        return annotation
    origin = get_origin(annotation)
    if origin is Annotated:
        return Annotated[(*new, *annotation.__metadata__)]
    return Union[new] if origin in (Union, UnionType) else origin[new]  # noqa: UP007 - of a tuple


def made_of(annotation: Any, kinds: tuple[type, ...], *, none: bool) -> bool:
    """Whether a type is one of `kinds`, or a union of them, or None if that is allowed. Booleans are no numbers here.

    What is named and not there yet may be: it is looked at again when it is used.
    """
    if _is_alias(annotation) or get_origin(annotation) is Annotated:
        return made_of(annotation.__value__ if _is_alias(annotation) else _arguments(annotation)[0], kinds, none=none)
    if get_origin(annotation) in (Union, UnionType):
        return all(made_of(part, kinds, none=none) for part in _arguments(annotation))
    if annotation is NoneType:
        return none
    if not isinstance(annotation, type):
        return get_origin(annotation) is None
    return issubclass(annotation, kinds) and not issubclass(annotation, bool)


def _arguments(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is Literal:
        return []
    found = list(get_args(annotation))
    return found[:1] if origin is Annotated else found


def _is_alias(annotation: Any) -> bool:
    return get_origin(annotation) is None and hasattr(annotation, "__value__")
