# SPDX-License-Identifier: Apache-2.0
"""Functions whose defaults are components: while a container runs, a default *is* the component, and a call costs nothing."""

import inspect
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, cast, overload

from nerv.di.component import C, Key, Typed, name_of, short
from nerv.errors import Misconfigured


class Injected:
    """Stands where a component will be. Whoever uses it before the container runs is told so."""

    def __init__(self, key: Key) -> None:
        self.__dict__["key"] = key

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python itself asks of any object
            raise AttributeError(name)
        raise Misconfigured(f"{name_of(self.__dict__['key'])} is injected while its container runs; enter it first")

    def __repr__(self) -> str:
        return f"Inject({name_of(self.__dict__['key'])})"


@overload
def Inject(key: Typed[C]) -> C: ...
@overload
def Inject(key: str) -> Any: ...
def Inject(key: Any) -> Any:
    """As a parameter's default: the component of this key, while the container runs that the function was given to."""
    return Injected(key)


class Injection:
    """One function, and which of its defaults are components. Decorators around it are looked through."""

    def __init__(self, function: Callable[..., Any]) -> None:
        """Raises Misconfigured for what has no defaults to inject into."""
        found = inspect.unwrap(function)
        # Coroutine functions and methods' functions have defaults of their own; a partial or an object has none to set.
        if not isinstance(found, FunctionType):
            raise Misconfigured(f"{function!r} is no function of Python; only those have defaults to inject into")
        self._function, self.name = found, short(found.__qualname__)
        self._defaults, self._keywords = found.__defaults__, found.__kwdefaults__
        values = (*(self._defaults or ()), *(self._keywords or {}).values())
        self.keys: tuple[Key, ...] = tuple(
            dict.fromkeys(value.__dict__["key"] for value in values if type(value) is Injected)
        )
        if not self.keys:
            raise Misconfigured(
                f"{self.name} has nothing to inject: give a parameter the default Inject(...), "
                "and do it before a container runs that has this function"
            )
        self._is_set = False

    def set(self, values: Mapping[Key, Any]) -> None:
        """From now on these components are the defaults. Raises Misconfigured when another container has set its own."""

        def filled(value: Any) -> Any:
            return values[value.__dict__["key"]] if type(value) is Injected else value

        function = self._function
        if function.__defaults__ is not self._defaults or function.__kwdefaults__ is not self._keywords:
            raise Misconfigured(f"{self.name} has the components of another container that runs; leave that one first")
        if self._defaults is not None:
            function.__defaults__ = tuple(map(filled, self._defaults))
        if self._keywords is not None:
            function.__kwdefaults__ = {name: filled(value) for name, value in self._keywords.items()}
        self._is_set = True

    def clear(self) -> None:
        """The defaults are what was written, if it was this one that has set them."""
        if self._is_set:
            self._function.__defaults__ = self._defaults
            self._function.__kwdefaults__ = cast("dict[str, Any]", self._keywords)
            self._is_set = False
