# SPDX-License-Identifier: Apache-2.0
"""Who performs effects: handlers by type, in scopes, one by one or in batches, with a cache where one is wanted."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from nerv.effects.batching import Batcher
from nerv.effects.caching import Cache, Cached
from nerv.effects.performing import Handler, Registered, answered, perform_all
from nerv.errors import Invalid, Misconfigured
from nerv.types import Description, Effect, R

Around: TypeAlias = Callable[[str, Handler], Handler]
"""Takes the kind of an effect and what handles it; gives what does so instead (see `nerv.aspects`)."""

BATCH = 1000  # effects in one call of a batch handler, unless told


class Handlers:
    """Handlers by type of effect (`nerv.protocols.Effectful`). A type without one is handled as its base class is, then as
    the outer scope does.

    A test replaces a handler in a scope of its own: what is registered inside hides what is outside.
    """

    def __init__(
        self, name: str = "handlers", *, outer: "Handlers | None" = None, around: Around | None = None
    ) -> None:
        self.name = name
        self._outer = outer
        self._around = around
        self._own: dict[type[Effect[Any]], Registered] = {}
        self._found: dict[type[Effect[Any]], Registered] = {}
        # Shared by all scopes of one root: when anything is registered, what any of them has found may be hidden now.
        self._generation: list[int] = [0] if outer is None else outer._generation
        self._found_at = 0
        self.performed: Counter[str] = Counter()

    def on(
        self, effect: type[Effect[R]], handler: Callable[[Any], R | Awaitable[R]], *, cache: Cache | None = None
    ) -> "Handlers":
        """`handler(effect)` answers effects of this type. Gives itself, so that calls can be chained."""
        return self._register(effect, Registered(handler if cache is None else Cached(handler, cache)))

    def on_batch(
        self,
        effect: type[Effect[R]],
        handler: Callable[[Sequence[Any]], Awaitable[Sequence[R | Exception]] | Sequence[R | Exception]],
        *,
        size: int = BATCH,
    ) -> "Handlers":
        """`handler(effects)` answers many at once, in order; an exception among the answers is that effect's error.

        What is asked for in one turn of the loop reaches it together, at most `size` effects a call.
        """
        if size < 1:
            raise Invalid(f"size must be at least 1, not {size}")
        batcher = Batcher(handler, size)
        return self._register(effect, Registered(batcher.one, batcher))

    def scope(self, name: str = "scope", *, around: Around | None = None) -> "Handlers":
        """A new scope inside this one. `around` changes every handler that is found through it, outer ones, too."""
        return Handlers(name, outer=self, around=around)

    def find(self, effect: type[Effect[Any]]) -> Registered:
        """Who answers effects of a type. Raises Misconfigured, saying what to register."""
        found = self._look(effect)
        if found is None:
            known = ", ".join(sorted(cls.__name__ for cls in self._known())) or "no type at all"
            raise Misconfigured(
                f"nobody performs {effect.__name__} effects: register handlers.on({effect.__name__}, ...). "
                f"There are handlers of {known}"
            )
        return found

    def performs(self, effect: type[Effect[Any]]) -> bool:
        """Whether anybody here, or in an outer scope, answers effects of this type."""
        return self._look(effect) is not None

    async def perform(self, effect: Effect[R]) -> R:
        """The answer to one effect, without a program around it (see `Effectful.perform`)."""
        self._count(effect)
        answer: R = await answered(self.find(type(effect)).call(effect))
        return answer

    async def perform_all(self, effects: Sequence[Effect[Any]]) -> list[Any]:
        """The outcome of each (see `Effectful.perform_all`): those that have a batch handler reach it together."""
        for effect in effects:
            self._count(effect)
        return await perform_all(effects, self.find)

    def describe(self) -> Description:
        """The handlers as data; parts are its batchers, its caches, and the outer scope."""
        kinds = tuple(sorted(str(getattr(cls, "kind", cls.__name__)) for cls in self._own))
        own = [registered.batcher or registered.call for registered in self._own.values()]
        parts = tuple(part.describe() for part in own if isinstance(part, Batcher | Cached))
        if self._outer is not None:
            parts += (self._outer.describe(),)
        return Description("Handlers", self.name, inputs=kinds, counters=dict(self.performed), parts=parts)

    def _count(self, effect: Effect[Any]) -> None:
        self.performed[str(effect.kind)] += 1

    def _register(self, effect: type[Effect[Any]], registered: Registered) -> "Handlers":
        if not (isinstance(effect, type) and issubclass(effect, Effect)):
            raise Invalid(f"{effect!r} is no type of effect; subclass nerv.types.Effect")
        self._own[effect] = registered
        self._generation[0] += 1
        return self

    def _look(self, effect: type[Effect[Any]]) -> Registered | None:
        if self._found_at != self._generation[0]:
            self._found.clear()
            self._found_at = self._generation[0]
        found = self._found.get(effect)
        if found is None:
            own = next((self._own[cls] for cls in effect.__mro__ if cls in self._own), None)
            found = own or (None if self._outer is None else self._outer._look(effect))
            if found is None:
                return None
            if self._around is not None:
                found = _changed(found, str(getattr(effect, "kind", effect.__name__)), self._around)
            self._found[effect] = found
        return found

    def _known(self) -> set[type[Effect[Any]]]:
        return set(self._own) | (set() if self._outer is None else self._outer._known())


def _changed(found: Registered, kind: str, around: Around) -> Registered:
    if found.batcher is None:
        return Registered(around(kind, found.call))
    batcher = Batcher(around(kind, found.batcher.handler), found.batcher.size)
    return Registered(batcher.one, batcher)
