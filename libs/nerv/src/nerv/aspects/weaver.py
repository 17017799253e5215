# SPDX-License-Identifier: Apache-2.0
"""The weaver: puts a chain of aspects around functions, where they are, and takes it away again."""

import inspect
import weakref
from collections.abc import Callable, Iterable, Sequence
from types import FunctionType, TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast

from nerv.aspects.chain import Proceed, async_chain, chain
from nerv.aspects.joinpoint import JoinPoint, Woven, check_function
from nerv.aspects.model import Aspect
from nerv.aspects.places import Selector, matches, places
from nerv.aspects.twin import can_have_twin
from nerv.effects import Handlers
from nerv.errors import Invalid
from nerv.types import Description

Params = ParamSpec("Params")
Result = TypeVar("Result")


class Weaving:
    """What one `weave` has done; also a context manager, at whose end it is undone. `targets` names the functions."""

    def __init__(self, weaver: "AspectWeaver", points: Sequence[JoinPoint]) -> None:
        self._weaver = weaver
        self._points = tuple(points)
        self.targets = tuple(point.target for point in points)

    def unweave(self) -> None:
        """The functions are as they were. Harmless to repeat."""
        self._weaver.release(self._points)

    def describe(self) -> Description:
        """The weaving as data: what is woven by it, still or no more."""
        return Description("Weaving", self._weaver.name, outputs=self.targets, counters={"woven": len(self.targets)})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unweave()


class AspectWeaver:
    """Weaves aspects around functions; the order given is the order of calls, outermost first.

    While none of a function's aspects is active, a module, class or object that was woven has its very own function back,
    a woven function has the code of the original, and a call costs what it always did. What others imported from a module
    before it was woven stays unwoven for them.
    Weaving and switching belong to one thread; woven functions may be called from any.
    """

    def __init__(self, *aspects: Aspect, name: str = "weaver") -> None:
        self.name = name
        self._aspects = {aspect.name: aspect for aspect in aspects}
        if len(self._aspects) < len(aspects):
            raise Invalid("two aspects have the same name; give one of them a name of its own")
        self._off: set[str] = set()
        self._placed: dict[JoinPoint, None] = {}
        self._functions: weakref.WeakValueDictionary[tuple[int, tuple[str, ...]], Any] = weakref.WeakValueDictionary()
        self._free: weakref.WeakSet[JoinPoint] = weakref.WeakSet()
        self._chains: dict[tuple[tuple[str, ...], bool], Proceed] = {}

    def function(self, function: Callable[Params, Result]) -> Callable[Params, Result]:
        """The function, woven; also as a decorator. The same function gives the same woven one while anybody holds it."""
        check_function(function)
        names = tuple(self._aspects)
        woven = self._functions.get((id(function), names))
        if woven is None:
            target = f"{function.__module__}.{getattr(function, '__qualname__', type(function).__qualname__)}"
            point = self._point(target, names, inspect.iscoroutinefunction(function))
            plain = can_have_twin(function)
            woven = point.twin(cast("FunctionType", function)) if plain else Woven(function, point)
            self._functions[id(function), names] = woven
        return cast("Callable[Params, Result]", woven)

    def weave(self, owner: object, select: Selector = "*", *, aspects: Iterable[str] | None = None) -> Weaving:
        """Weave the selected functions of a module, a class or one object, with all aspects or with those named.

        What is woven by this weaver already stays as it is. Generators, properties and `__special__` methods are left alone.
        Raises Invalid when nothing is selected.
        """
        names = self._named(aspects)
        for point in [point for point in self._placed if point.owner is None]:
            del self._placed[point]  # of an object that is gone
        woven = {(id(point.owner), point.attribute) for point in self._placed}
        chosen = [place for place in places(owner, select) if (id(place.owner), place.attribute) not in woven]
        points = [
            JoinPoint(place.target, names, is_async=inspect.iscoroutinefunction(place.function), place=place)
            for place in chosen
        ]
        for point in points:
            self._placed[point] = None
            self._set(point)
        return Weaving(self, points)

    def handlers(self, handlers: Handlers, select: str = "*") -> Handlers:
        """A scope of effect handlers in which those whose kind is selected run inside of this weaver's chain.

        The target is the kind of the effect, the argument the effect; for a batch handler, the list of them.
        """

        def around(kind: str, handler: Callable[[Any], Any]) -> Callable[[Any], Any]:
            if not matches(kind, select):
                return handler
            return cast("Callable[[Any], Any]", Woven(handler, self._point(kind, tuple(self._aspects), True)))

        return handlers.scope(self.name, around=around)

    def disable(self, *names: str) -> None:
        """Switch aspects off, wherever they are woven."""
        self._off |= set(self._named(names))
        self.refresh()

    def enable(self, *names: str) -> None:
        """Switch aspects on again."""
        self._off -= set(self._named(names))
        self.refresh()

    def refresh(self) -> None:
        """Ask every aspect again whether it is active: after log levels or telemetry have been changed."""
        for point in [*self._placed, *self._free]:
            self._set(point)

    def unweave(self) -> None:
        """Everything is as it was. Woven functions that somebody holds go straight to the function."""
        self.release(tuple(self._placed))
        for point in self._free:
            point.set(None)
        self._free.clear()
        self._functions.clear()

    def release(self, points: Iterable[JoinPoint]) -> None:
        """Unweave some functions; see Weaving."""
        for point in points:
            if point in self._placed:
                del self._placed[point]
                point.set(None)

    def describe(self) -> Description:
        """The weaver as data: aspects (inputs), woven functions (outputs), and how many of them are active."""
        points = [*self._placed, *self._free]
        return Description(
            "AspectWeaver",
            self.name,
            inputs=tuple(f"{name} (off)" if name in self._off else name for name in self._aspects),
            outputs=tuple(sorted(point.target for point in points)),
            counters={"woven": len(points), "active": sum(bool(point.switch) for point in points)},
            parts=tuple(aspect.describe() for aspect in self._aspects.values()),
        )

    def _named(self, names: Iterable[str] | None) -> tuple[str, ...]:
        wanted = tuple(self._aspects) if names is None else tuple(names)
        unknown = [name for name in wanted if name not in self._aspects]
        if unknown:
            raise Invalid(f"there is no aspect {', '.join(unknown)}; this weaver has {', '.join(self._aspects)}")
        return tuple(name for name in self._aspects if name in wanted)

    def _point(self, target: str, names: tuple[str, ...], is_async: bool) -> JoinPoint:
        point = JoinPoint(target, names, is_async=is_async)
        self._free.add(point)
        self._set(point)
        return point

    def _set(self, point: JoinPoint) -> None:
        active = tuple(name for name in point.names if name not in self._off and self._aspects[name].active())
        point.set(self._chained(active, point.is_async) if active else None)

    def _chained(self, names: tuple[str, ...], is_async: bool) -> Proceed:
        found = self._chains.get((names, is_async))
        if found is None:
            aspects = [self._aspects[name] for name in names]
            found = self._chains[names, is_async] = (async_chain if is_async else chain)(aspects)
        return found
