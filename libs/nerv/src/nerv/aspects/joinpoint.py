# SPDX-License-Identifier: Apache-2.0
"""A function that is woven: the wrapper around it, and the attribute where the wrapper stands while there is work for it."""

import inspect
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import wrapt

from nerv.aspects.chain import Proceed
from nerv.aspects.model import Call
from nerv.aspects.places import Place
from nerv.errors import Invalid


class Woven(wrapt.FunctionWrapper[..., Any]):
    """The wrapper. While its join point has no active aspect, it hands calls on from C, without a frame of Python."""

    def __init__(self, function: Callable[..., Any], point: "JoinPoint") -> None:
        super().__init__(function, point.through, enabled=point.switch)  # type: ignore[arg-type]  # anything with a truth
        self._self_point = point


class JoinPoint:
    """One function and the chain around it. `names` are the aspects that it is woven with, in order."""

    __slots__ = ("__weakref__", "_fresh", "_owner", "attribute", "is_async", "names", "switch", "target")

    def __init__(self, target: str, names: tuple[str, ...], *, is_async: bool, place: Place | None = None) -> None:
        self.target = target
        self.names = names
        self.is_async = is_async
        self.switch: list[Proceed] = []  # empty is off: C looks at its length, which is the cheapest switch there is
        self.attribute = place.attribute if place else ""
        self._owner = weakref.ref(place.owner) if place else None
        self._fresh = place is not None and self.attribute not in vars(place.owner)

    @property
    def owner(self) -> Any:
        """Whose attribute the function is; None for a function that stands alone, or when the owner is gone."""
        return None if self._owner is None else self._owner()

    def through(
        self, function: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """What wrapt calls instead of the function; a method comes bound."""
        return self.switch[0](Call(self.target, function, args, kwargs))

    def set(self, proceed: Proceed | None) -> None:
        """Calls go through this from now on; None: straight to the function, and what had its place has it again."""
        self.switch[:] = () if proceed is None else (proceed,)
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
