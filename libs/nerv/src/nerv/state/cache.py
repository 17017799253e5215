# SPDX-License-Identifier: Apache-2.0
"""Projections that are kept by version, so that the next one is folded from the nearest and not from the start."""

from bisect import bisect_right, insort
from collections import OrderedDict
from typing import Generic

from nerv.errors import Invalid
from nerv.types import Description, EntityId, S, VersionedState


class ProjectionCache(Generic[S]):
    """The last used `size` states, each of an entity at a version. One that is held never changes, so none is ever stale."""

    def __init__(self, size: int = 1024) -> None:
        if size < 1:
            raise Invalid(f"a cache holds at least 1 state, not {size}")
        self._size = size
        self._states: OrderedDict[tuple[EntityId, int], VersionedState[S]] = OrderedDict()
        self._versions: dict[EntityId, list[int]] = {}
        self._hits = self._misses = self._evicted = 0

    def __len__(self) -> int:
        return len(self._states)

    def put(self, state: VersionedState[S]) -> None:
        """Keep a state; the one that was used least recently makes room."""
        key = (state.id, state.version)
        if key not in self._states:
            insort(self._versions.setdefault(state.id, []), state.version)
        self._states[key] = state
        self._states.move_to_end(key)
        while len(self._states) > self._size:
            (entity, version), _ = self._states.popitem(last=False)
            self._evicted += 1
            self._versions[entity].remove(version)
            if not self._versions[entity]:
                del self._versions[entity]

    def nearest(self, entity: EntityId, version: int | None = None) -> VersionedState[S] | None:
        """The latest state of an entity that is held, up to a version; None when there is none."""
        versions = self._versions.get(entity, [])
        index = len(versions) if version is None else bisect_right(versions, version)
        if not index:
            self._misses += 1
            return None
        self._hits += 1
        found = self._states[entity, versions[index - 1]]
        self._states.move_to_end((entity, found.version))
        return found

    def forget(self, entity: EntityId) -> None:
        """Drop all states of an entity."""
        for version in self._versions.pop(entity, []):
            del self._states[entity, version]

    def describe(self) -> Description:
        """The cache as data."""
        counters = {"held": len(self), "hits": self._hits, "misses": self._misses, "evicted": self._evicted}
        return Description("ProjectionCache", "projections", counters=counters)
