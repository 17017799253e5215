# SPDX-License-Identifier: Apache-2.0
"""A state that is seen in several perspectives, and the views of it that are kept by version."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from nerv.errors import Invalid, Misconfigured, NotFound, VersionConflict
from nerv.perspectives.base import Perspective
from nerv.perspectives.plan import Plan, plan_for
from nerv.types import Description, Principal, S, VersionedState

T = TypeVar("T")
VIEWS = 1024


class ViewCache:
    """The last used `size` views, by entity, version and what was asked for. Several holders may share one.

    A kept view answers only for the very state that it was made of: of two states with one version, as there are when one of
    them is as of an instant, neither gets the views of the other.
    """

    def __init__(self, size: int = VIEWS) -> None:
        if size < 1:
            raise Invalid(f"a cache holds at least 1 view, not {size}")
        self._size = size
        self._views: OrderedDict[Hashable, tuple[Any, Any]] = OrderedDict()
        self._hits = self._misses = self._evicted = 0

    def __len__(self) -> int:
        return len(self._views)

    def get(self, state: VersionedState[Any], asked: Hashable, make: Callable[[Any], T]) -> T:
        """What was made of this state when the same was asked for, or what `make` makes of it now."""
        key = (state.id, state.version, asked)
        kept = self._views.get(key)
        if kept is not None and kept[0] is state.state:
            self._hits += 1
            self._views.move_to_end(key)
            found: T = kept[1]
            return found
        self._misses += 1
        view = make(state.state)
        self._views[key] = (state.state, view)
        self._views.move_to_end(key)
        if len(self._views) > self._size:
            self._views.popitem(last=False)
            self._evicted += 1
        return view

    def describe(self) -> Description:
        """The cache as data."""
        counters = {"held": len(self), "hits": self._hits, "misses": self._misses, "evicted": self._evicted}
        return Description("ViewCache", "views", counters=counters)


class PerspectiveAware(Generic[S]):
    """The state of one entity, held at its latest version and shown in named perspectives, each for a kind of reader.

    States are values: who changes one in place instead of holding a new version is shown what was. Errors are those of
    `Perspective`, and NotFound for a perspective that there is not.
    """

    def __init__(
        self,
        state: VersionedState[S],
        perspectives: Mapping[str, type[Perspective]],
        *,
        cache: ViewCache | None = None,
    ) -> None:
        if not perspectives:
            raise Misconfigured(f"{state.id} is shown in no perspective; give at least one by name")
        self._state = state
        self._perspectives = dict(perspectives)
        self._cache = ViewCache() if cache is None else cache

    @property
    def state(self) -> VersionedState[S]:
        """The state that is held."""
        return self._state

    @property
    def perspectives(self) -> Mapping[str, type[Perspective]]:
        """The perspectives by name."""
        return dict(self._perspectives)

    def hold(self, state: VersionedState[S]) -> None:
        """Take up the next version. Raises VersionConflict for an earlier one, Invalid for another entity's."""
        if state.id != self._state.id:
            raise Invalid(f"this holds {self._state.id}, not {state.id}; each entity has its own holder")
        if state.version < self._state.version:
            raise VersionConflict(f"{state.id} is at version {self._state.version}; {state.version} is earlier")
        self._state = state

    def view(self, name: str, *, fields: Sequence[str] | None = None, viewer: Principal | None = None) -> Perspective:
        """The state in a perspective, as an object; the same one while neither state nor question change."""
        plan = self._plan(name, fields, viewer)
        found: Perspective = self._cache.get(self._state, (plan, "view"), plan.see)
        return found

    def dump(
        self, name: str, *, fields: Sequence[str] | None = None, viewer: Principal | None = None
    ) -> dict[str, Any]:
        """The state in a perspective, as JSON-able data, which is the caller's own."""
        plan = self._plan(name, fields, viewer)
        found: dict[str, Any] = _copy(self._cache.get(self._state, (plan, "dump"), plan.dump))
        return found

    def describe(self) -> Description:
        """The holder as data: its entity and version, the fields of its perspectives, and its cache."""
        parts = [
            Description("Perspective", name, outputs=kind.shown()) for name, kind in sorted(self._perspectives.items())
        ]
        return Description(
            "PerspectiveAware",
            str(self._state.id),
            outputs=tuple(sorted(self._perspectives)),
            counters={"version": self._state.version},
            parts=(*parts, self._cache.describe()),
        )

    def _plan(self, name: str, fields: Sequence[str] | None, viewer: Principal | None) -> Plan[Any]:
        kind = self._perspectives.get(name)
        if kind is None:
            known = ", ".join(sorted(self._perspectives))
            raise NotFound(f"{self._state.id} has no perspective {name[:100]!r}; it has {known}")
        return plan_for(kind, fields, viewer)


def _copy(value: Any) -> Any:
    """JSON-able data that the caller may change, while what is kept stays as it was made."""
    if isinstance(value, dict):
        return {key: _copy(part) for key, part in value.items()}
    return [_copy(part) for part in value] if isinstance(value, list) else value
