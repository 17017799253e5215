# SPDX-License-Identifier: Apache-2.0
"""Where functions are found in a module, a class or an object, and which of them a selector means."""

import inspect
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from types import FunctionType, ModuleType
from typing import Any, NamedTuple, TypeAlias

from nerv.errors import Invalid

Selector: TypeAlias = str | Callable[[str, Callable[..., Any]], bool]
"""A pattern of names such as `load_*` or `Store.append`, or a predicate of name and function."""


class Place(NamedTuple):
    """An attribute that holds a function. `name` is what selectors see, `target` the function's full name."""

    owner: Any
    attribute: str
    name: str
    target: str
    function: Callable[..., Any]


def places(owner: Any, select: Selector) -> Iterator[Place]:
    """The functions of an owner that are selected. Of a module: its own functions and the methods of its own classes."""
    found = list(_of_module(owner) if isinstance(owner, ModuleType) else _of_class_or_object(owner))
    if not found:
        raise Invalid(
            f"{_called(owner)} has no functions of its own; give a module, a class or an object that has some"
        )
    if isinstance(select, str):
        chosen = [place for place in found if matches(place.name, select)]
    else:
        chosen = [place for place in found if select(place.name, place.function)]
    if not chosen:
        known = ", ".join(sorted(place.name for place in found if not place.attribute.startswith("_")))
        raise Invalid(f"{select!r} selects nothing of {_called(owner)}, which has {known or 'private functions only'}")
    yield from chosen


def matches(name: str, pattern: str) -> bool:
    """Whether a pattern means a name. Names with a leading underscore are meant only where the pattern has one, too."""
    private = name.rpartition(".")[2].startswith("_")
    return fnmatchcase(name, pattern) and (not private or pattern.rpartition(".")[2].startswith("_"))


def _of_module(module: ModuleType) -> Iterator[Place]:
    for name, value in list(vars(module).items()):
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value):
            for attribute, member in list(vars(value).items()):
                if (function := _function(member)) is not None:
                    yield Place(value, attribute, f"{name}.{attribute}", _target(value, attribute), function)
        elif (function := _function(value)) is not None:
            yield Place(module, name, name, f"{module.__name__}.{name}", function)


def _of_class_or_object(owner: Any) -> Iterator[Place]:
    cls = owner if inspect.isclass(owner) else type(owner)
    if cls is not owner and not hasattr(owner, "__dict__"):
        raise Invalid(f"{_called(owner)} has no place of its own for woven methods; weave its class {cls.__name__}")
    seen: set[str] = set()
    for base in cls.__mro__[:-1]:  # all but object
        for attribute, member in list(vars(base).items()):
            function = _function(member)
            if function is None or attribute in seen or (attribute.startswith("__") and attribute.endswith("__")):
                continue
            seen.add(attribute)
            yield Place(owner, attribute, attribute, _target(cls, attribute), function)


def _function(member: Any) -> Callable[..., Any] | None:
    """The function behind an attribute, if aspects have a place around it.

    A generator works between its yields, after its function has returned: there is no call to be around.
    """
    function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
    if not isinstance(function, FunctionType):
        return None
    return None if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function) else function


def _target(cls: type, attribute: str) -> str:
    return f"{cls.__module__}.{cls.__qualname__}.{attribute}"


def _called(owner: Any) -> str:
    if isinstance(owner, ModuleType):
        return f"the module {owner.__name__}"
    return f"the class {owner.__qualname__}" if inspect.isclass(owner) else f"the {type(owner).__qualname__}"
