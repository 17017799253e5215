# SPDX-License-Identifier: Apache-2.0
"""A digest of the code that makes a state, so that a changed fold never goes on from a state that the old one made.

Taken in: the fold, its upcasters, the models of events and state, and, from there on, every function, class and constant of
the app that their code names. Of the standard library only names count, of other installed packages name and version.
"""

import hashlib
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions, version
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from pydantic import BaseModel

from nerv.app import App, ProjectionSpec

_STANDARD = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
_INSTALLED = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib")})
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_CONSTANTS = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis))


def fingerprint(app: App, projection: ProjectionSpec) -> str:
    """32 hexadecimal digits that change when anything does that the state of this projection depends on."""
    return fingerprint_of(*_parts(app, projection))


def fingerprint_of(*parts: Any) -> str:
    """The same of functions, classes and values, in this order."""
    walk = _Walk({_root(part) for part in parts})
    for part in parts:
        walk.take(part)
    return walk.digest.hexdigest()


def _parts(app: App, projection: ProjectionSpec) -> Iterator[Any]:
    """What a state is made by, as the app declares it."""
    yield projection.function
    yield projection.state
    for event_type in app.folded(projection):
        yield event_type
        upcaster, event = app.upcasters.get(event_type), app.events.get(app.latest(event_type))
        if upcaster is not None:
            yield upcaster.target
            yield upcaster.function
        if event is not None:
            yield event.model


class _Walk:
    """Goes through what code refers to, each thing once, in an order that does not depend on addresses or hashes."""

    def __init__(self, own: AbstractSet[str]) -> None:
        self._own = own  # the packages of the app, wherever they are installed
        self.digest = hashlib.blake2b(digest_size=16)
        self._seen: dict[int, Any] = {}  # holds what was seen, so that no address is used twice
        self.say(sys.implementation.cache_tag)  # bytecode is one version's

    def say(self, text: object) -> None:
        data = _ADDRESS.sub("", str(text)).encode()
        self.digest.update(len(data).to_bytes(4, "big") + data)

    def take(self, value: Any) -> None:
        if isinstance(value, _CONSTANTS):
            self.say(f"{type(value).__name__} {value!r}")
            return
        if id(value) in self._seen:
            return
        self._seen[id(value)] = value
        for kind, how in _HOW:
            if isinstance(value, kind):
                how(self, value)
                return
        self.say(type(value).__qualname__)
        if not self.foreign(type(value)):
            self.take(getattr(value, "__dict__", None))

    def foreign(self, thing: Any) -> bool:
        root = _root(thing)
        file = getattr(sys.modules.get(root), "__file__", None) or ""
        if root in self._own or not (root in sys.builtin_module_names or file.startswith(_STANDARD + _INSTALLED)):
            return root == "nerv"
        if file.startswith(_INSTALLED):
            self.say(_release(root))
        return True

    def function(self, function: FunctionType) -> None:
        self.say(function.__qualname__)
        if self.foreign(function):
            return
        self.code(function.__code__)
        self.take(function.__defaults__)
        self.take(function.__kwdefaults__)
        for cell in function.__closure__ or ():
            self.take(cell.cell_contents)
        for name in _names(function.__code__):
            found = function.__globals__.get(name)
            self.take(found)
            if isinstance(found, ModuleType):
                for attribute in _names(function.__code__):
                    self.take(getattr(found, attribute, None))

    def code(self, code: CodeType) -> None:
        self.digest.update(code.co_code)
        self.say((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars))
        for constant in code.co_consts:
            self.take(constant)

    def klass(self, found: type) -> None:
        self.say(f"{found.__module__}.{found.__qualname__}")
        if self.foreign(found):
            return
        for base in found.__bases__:
            self.take(base)
        if issubclass(found, BaseModel):
            for name, field in found.model_fields.items():
                self.say((name, repr(field)))
                self.take(field.annotation)
                self.take(field.default_factory)
                self.take(field.metadata)
        for name in sorted(vars(found)):
            value = vars(found)[name]
            if not name.startswith("__pydantic") and name not in ("__doc__", "__module__", "__dict__", "__weakref__"):
                self.say(name)
                self.take(value)

    def several(self, values: list[Any] | tuple[Any, ...]) -> None:
        self.say(len(values))
        for value in values:
            self.take(value)

    def unordered(self, values: AbstractSet[Any]) -> None:
        self.say(sorted(map(repr, values)))

    def mapping(self, values: Mapping[Any, Any]) -> None:
        for key, value in values.items():
            self.say(repr(key) if isinstance(key, _CONSTANTS) else type(key).__qualname__)
            self.take(value)

    def wrapped(self, value: Any) -> None:
        for attribute in (
            "fget",
            "fset",
            "__func__",
            "func",
            "args",
            "keywords",
            "__wrapped__",
            "__args__",
            "__origin__",
        ):
            self.take(getattr(value, attribute, None))


_HOW: tuple[tuple[type | tuple[type, ...], Callable[[_Walk, Any], None]], ...] = (
    (FunctionType, _Walk.function),
    (CodeType, _Walk.code),
    (type, _Walk.klass),
    ((list, tuple), _Walk.several),
    ((set, frozenset), _Walk.unordered),
    (Mapping, _Walk.mapping),
    ((property, classmethod, staticmethod, MethodType, partial), _Walk.wrapped),
)


def _names(code: CodeType) -> list[str]:
    """The names that code and the code within it use."""
    inner = [name for constant in code.co_consts if isinstance(constant, CodeType) for name in _names(constant)]
    return [*code.co_names, *inner]


def _root(thing: Any) -> str:
    return str(getattr(thing, "__module__", None) or "").partition(".")[0]


@cache
def _release(root: str) -> str:
    """The version of an installed package, by the name that it is imported by: as a rule that of its distribution, too. To go
    through all that are installed would hold up the start of a replica for 70 ms.
    """
    with suppress(PackageNotFoundError):
        found = distribution(root)
        if f"{root}/__init__.py," in (found.read_text("RECORD") or ""):
            return found.version
    return " ".join(version(name) for name in packages_distributions().get(root, ()))
