# SPDX-License-Identifier: Apache-2.0
"""What a container is told of: a component or a task, how it is made, and what it needs."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias, TypeVar, get_type_hints

from nerv.errors import Misconfigured
from nerv.types import Health

Key: TypeAlias = type | str
"""What a component is asked for by: its type, or a name."""

C = TypeVar("C")

Typed: TypeAlias = Callable[..., C]
"""A type as a key, to type checkers: unlike `type[C]`, they take protocols and abstract classes for one, too."""

HealthCheck: TypeAlias = Callable[[Any], bool | Health | Awaitable[bool | Health | None] | None]
"""Takes the component. False or Health.DOWN, or an error, is down; nothing is well."""


class Kind(StrEnum):
    """How long a component lives."""

    SINGLETON = "singleton"  # as long as the container runs
    SCOPED = "scoped"  # as long as a scope
    FACTORY = "factory"  # a new one each time, which nobody stops
    VALUE = "value"  # given, not made
    TASK = "task"  # a function that is run
    FUNCTION = "function"  # one whose defaults are components


def name_of(key: Key) -> str:
    """A key as people read it."""
    return key if isinstance(key, str) else short(key.__qualname__)


def short(qualname: str) -> str:
    """The name of a class or function without that of the function that it is made in."""
    return qualname.rpartition("<locals>.")[2]


@dataclass(frozen=True, slots=True, eq=False)
class Component:
    """One registration. `needs` maps parameters of `make` to keys; `timeout` (seconds) is a task's."""

    key: Key
    kind: Kind
    make: Callable[..., Any]
    needs: Mapping[str, Key]
    lazy: bool = False
    enter: bool = True
    health: HealthCheck | None = None
    timeout: float | None = None
    called: str = ""

    @property
    def name(self) -> str:
        """What people read, unique in a container."""
        return self.called or name_of(self.key)


def maker(key: Key, make: Callable[..., Any] | None) -> Callable[..., Any]:
    """What makes a component: `make`, else the type that is its key. A generator function gives a context manager: what
    it yields is the component, what follows stops it.
    """
    found = make or key
    if isinstance(found, str):
        raise Misconfigured(f"{found}: a name makes nothing; say what does: make=...")
    if not callable(found):
        raise Misconfigured(
            f"{name_of(key)}: {found!r} makes nothing; give a class or a function, or register it with value()"
        )
    if inspect.isabstract(found) or getattr(found, "_is_protocol", False):
        raise Misconfigured(f"{name_of(key)} is a port, of which nothing can be made; say what implements it: make=...")
    if inspect.isgeneratorfunction(found):
        return contextmanager(found)
    return asynccontextmanager(found) if inspect.isasyncgenfunction(found) else found


def needs_of(make: Callable[..., Any], name: str, given: Mapping[str, Key]) -> dict[str, Key]:
    """The parameters without a default, and what each is annotated with; `given` says otherwise for some."""
    try:
        parameters = inspect.signature(make).parameters
    except ValueError:  # of built-in classes Python does not always know what they take
        parameters = inspect.Signature().parameters
    unknown = [parameter for parameter in given if parameter not in parameters]
    if unknown:
        raise Misconfigured(f"{name} has no parameter {', '.join(unknown)}; it takes {', '.join(parameters)}")
    hints = _hints(make, name)
    needs: dict[str, Key] = {}
    for parameter in parameters.values():
        if parameter.name in given:
            needs[parameter.name] = given[parameter.name]
        elif parameter.default is parameter.empty and parameter.kind not in _REST:
            hint = hints.get(parameter.name)
            needs[parameter.name] = hint if isinstance(hint, type) else parameter.name
        if parameter.name in needs and parameter.kind is parameter.POSITIONAL_ONLY:
            raise Misconfigured(f"{name}: parameter {parameter.name} is positional only; components are given by name")
    return needs


_REST = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _hints(make: Callable[..., Any], name: str) -> dict[str, Any]:
    function = make.__init__ if inspect.isclass(make) else make
    try:
        return get_type_hints(inspect.unwrap(function))
    except NameError as error:
        raise Misconfigured(f"{name}: the annotation {error.name!r} cannot be found; import it at run time") from None
    except TypeError:  # an object that is called and has no annotations of its own
        return {}
