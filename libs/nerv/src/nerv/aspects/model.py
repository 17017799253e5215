# SPDX-License-Identifier: Apache-2.0
"""What an aspect is: a generator around a call, the same for functions, coroutine functions and effect handlers."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from nerv.types import Description, Health


@dataclass(frozen=True, slots=True)
class Call:
    """One call on its way to a function. `target` is the function's full name, or the kind of an effect."""

    target: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def argument(self, name: str) -> Any:
        """The argument of a parameter, by its name; None where it was not given. Takes some microseconds."""
        if name in self.kwargs:
            return self.kwargs[name]
        order = _parameters(getattr(self.function, "__func__", self.function))
        bound = inspect.ismethod(self.function)
        index = order.index(name) - bound if name in order else -1
        return self.args[index] if 0 <= index < len(self.args) else None


@lru_cache(maxsize=1024)
def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an aspect gives to the caller instead of the function's own result or error."""

    value: Any


Steps: TypeAlias = Generator[Any, Any, Answer | None]
"""What `around` is: code before, `result = yield`, code after; it yields nothing, or seconds to wait. See Aspect."""


class Aspect(ABC):
    """One concern around many calls. A subclass has a `name` and writes `around` as a generator:

    - `result = yield` lets the call go on and gives its result; an error of the call is raised there.
    - To `yield` once more makes the call once more; `yield 0.5` does so after half a second.
    - To return an `Answer` replaces result or error; without a `yield` before, the call is not made at all.
    - To return nothing changes nothing: the result, or the error, goes on to the caller.
    - To raise replaces the error.

    A cancellation and the end of the process are seen but cannot be replaced by an answer or by another try.
    """

    name: str

    @abstractmethod
    def around(self, call: Call) -> Steps:
        """The code around one call."""

    def describe(self) -> Description:
        """The aspect as data."""
        return Description(type(self).__name__, self.name, health=Health.OK if self.active() else Health.DOWN)

    def active(self) -> bool:
        """Whether there is anything to do now. Asked when the weaver weaves and when it is told to `refresh`."""
        return True
