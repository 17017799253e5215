# SPDX-License-Identifier: Apache-2.0
"""A function that is woven: the wrapper around it, and the attribute where the wrapper stands while there is work for it, or the
function in whose code the way through the aspects is put meanwhile.
"""

import inspect
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from types import CodeType, FunctionType
from typing import Any

import wrapt

from nerv.aspects.chain import Proceed
from nerv.aspects.model import Call
from nerv.aspects.places import Place
from nerv.aspects.twin import POINT, code_through, twin_of
from nerv.errors import Invalid


class Woven(wrapt.FunctionWrapper[..., Any]):
    """The wrapper. While its join point has no active aspect, it hands calls on from C, without a frame of Python."""

    def __init__(self, function: Callable[..., Any], point: "JoinPoint") -> None:
        super().__init__(function, point.through, enabled=point.switch)  # type: ignore[arg-type]  # anything with a truth
        self._self_point = point


class JoinPoint:
    """One function and the chain around it. `names` are the aspects that it is woven with, in order."""

    __slots__ = (
        "__weakref__",
        "_codes",
        "_fresh",
        "_owner",
        "_twin",
        "attribute",
        "is_async",
        "names",
        "switch",
        "target",
    )

    def __init__(self, target: str, names: tuple[str, ...], *, is_async: bool, place: Place | None = None) -> None:
        self.target = target
        self.names = names
        self.is_async = is_async
        self.switch: list[Proceed] = []  # empty is off: C looks at its length, which is the cheapest switch there is
        self.attribute = place.attribute if place else ""
        self._owner = weakref.ref(place.owner) if place else None
        self._twin: Callable[[], FunctionType | None] = lambda: None
        self._codes: tuple[CodeType, ...] = ()  # of the twin: while nothing is active, and while something is
        self._fresh = place is not None and self.attribute not in vars(place.owner)

    @property
    def owner(self) -> Any:
        """Whose attribute the function is; None for a function that stands alone, or when the owner is gone."""
        return None if self._owner is None else self._owner()

    def through(
        self, function: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """What is called instead of the function; a method comes bound."""
        for proceed in self.switch:
            return proceed(Call(self.target, function, args, kwargs))
        return function(*args, **kwargs)  # it was switched off meanwhile, by another thread

    def twin(self, function: FunctionType) -> FunctionType:
        """A function that does what `function` does, through the chain while there is one."""
        made = twin_of(function)
        # A strong reference from the code back to this would be a circle that nobody collects: code is not looked into.
        way = partial(_through, weakref.ref(self), function)
        self._codes = (function.__code__, code_through(function, way, is_async=self.is_async))
        self._twin = weakref.ref(made)
        setattr(made, POINT, self)
        made.__code__ = self._codes[bool(self.switch)]
        return made

    def set(self, proceed: Proceed | None) -> None:
        """Calls go through this from now on; None: straight to the function, and what had its place has it again."""
        self.switch[:] = () if proceed is None else (proceed,)
        twin = self._twin()
        if twin is not None:
            twin.__code__ = self._codes[proceed is not None]
        owner = self.owner
        if owner is None:
            return
        if proceed is None:
            self._displace(owner)
        elif self._standing(owner) is None:
            raw = vars(owner).get(self.attribute) or _raw(owner, self.attribute)
            setattr(owner, self.attribute, Woven(raw, self))

    def _standing(self, owner: Any) -> Woven | None:
        """Our wrapper, if it has the place. Others may stand there instead, with ours inside: that one just stays."""
        found = vars(owner).get(self.attribute)
        return found if type(found) is Woven and found._self_point is self else None

    def _displace(self, owner: Any) -> None:
        woven = self._standing(owner)
        if woven is None:
            return
        if self._fresh:
            delattr(owner, self.attribute)
        else:
            setattr(owner, self.attribute, woven.__wrapped__)


def _through(
    point: "weakref.ref[JoinPoint]", function: FunctionType, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    found = point()
    return function(*args, **kwargs) if found is None else found.through(function, None, args, kwargs)


def _raw(owner: Any, attribute: str) -> Any:
    return inspect.getattr_static(owner, attribute) if inspect.isclass(owner) else getattr(owner, attribute)


def check_function(function: Callable[..., Any]) -> None:
    """Raises Invalid for what aspects have no place around."""
    if not callable(function):
        raise Invalid(f"{function!r} is no function")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise Invalid(
            f"{function.__qualname__} is a generator: it works between its yields, after its call has returned. "
            "Weave what it calls, or what calls it"
        )
