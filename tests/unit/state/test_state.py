# SPDX-License-Identifier: Apache-2.0
"""States, their deltas, and what they share."""

import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from rpds import HashTrieMap

from nerv.errors import Invalid, NotFound, SchemaMismatch, VersionConflict
from nerv.state import MISSING, Delta, ProjectionCache, between, changed, freeze, get, put, thaw, update
from nerv.types import EntityId, VersionedState, VersionId

keys = st.sampled_from(["a", "b", "c", "d"])
leaves = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, 1.5, "", "x", "1"])
states = st.recursive(
    leaves, lambda inner: st.dictionaries(keys, inner, max_size=4) | st.lists(inner, max_size=3), max_leaves=12
)


def exact(state: Any) -> bytes:
    """JSON tells 1, 1.0 and true apart."""
    return orjson.dumps(thaw(state), option=orjson.OPT_SORT_KEYS)


@given(states, states)
def test_a_delta_leads_from_one_state_to_the_other_and_back(old: Any, new: Any) -> None:
    """apply and invert undo each other, to the type of each number."""
    a, b = freeze(old), freeze(new)
    delta = between(a, b)
    assert exact(delta.apply(a)) == exact(new)
    assert exact(delta.invert().apply(b)) == exact(old)
    assert delta.invert().invert() == delta
    assert bool(delta) == (exact(old) != exact(new))


@given(states, states, states, states)
def test_composition_is_associative_and_canonical(one: Any, two: Any, three: Any, four: Any) -> None:
    """Whatever lies between, the composed delta is the one between the ends; a delta and its inverse are nothing."""
    ab, bc, cd = between(one, two), between(two, three), between(three, four)
    assert ab.compose(bc).compose(cd) == ab.compose(bc.compose(cd)) == between(one, four)
    assert ab.compose(ab.invert()) == Delta()
    assert Delta().compose(ab) == ab == ab.compose(Delta())


@given(states, states)
def test_a_delta_is_the_same_after_its_way_over_the_wire(old: Any, new: Any) -> None:
    """Missing, null, and nested values are kept apart."""
    delta = between(old, new)
    assert Delta.from_bytes(delta.to_bytes()) == delta


@given(states, states)
def test_a_delta_names_only_what_differs(old: Any, new: Any) -> None:
    """No change has the same value on both sides, and none lies within another."""
    changes = between(old, new).changes
    for change in changes:
        assert change.old is MISSING or change.new is MISSING or exact(change.old) != exact(change.new)
    paths = [change.path for change in changes]
    assert not [(p, q) for p in paths for q in paths if p != q and q[: len(p)] == p]


def test_the_wire_form_of_a_small_change_in_a_large_state_is_small() -> None:
    """It has the size of the change."""
    state = freeze({f"key-{n}": {"n": n, "text": "x" * 50} for n in range(10_000)})
    _, delta = changed(state, ("key-7", "n"), 8)
    assert delta.to_bytes() == b'[[["key-7","n"],[7],[8]]]'
    assert delta == between(state, put(state, ("key-7", "n"), 8))


def test_a_delta_that_does_not_fit_is_refused() -> None:
    """Rather than to make a state that nobody had."""
    delta = between({"a": 1}, {"a": 2})
    for other in ({"a": 3}, {}, {"a": 1.0}, 5, None):
        with pytest.raises(VersionConflict, match="does not fit"):
            delta.apply(freeze(other))
    with pytest.raises(VersionConflict, match="does not fit"):
        between({}, {"a": 1}).apply(None)  # nothing stands there, but nothing can
    with pytest.raises(VersionConflict, match="do not follow"):
        delta.compose(delta)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"3", b"[[1]]", b'[[["a"],[1],[1,2]]]', b"[[[1.5],[1],[2]]]", b'[[["a"],3,[2]]]']
)
def test_what_is_no_delta_is_refused(data: bytes) -> None:
    """With one error."""
    if data == b"{}":
        assert Delta.from_bytes(b"[]") == Delta()
        return
    with pytest.raises(SchemaMismatch):
        Delta.from_bytes(data)


def test_updates_by_path_touch_nothing_else() -> None:
    """What is beside the path is the very same object."""
    state = freeze({"a": {"x": 1, "deep": {"y": [1, 2, 3]}}, "b": {"big": list(range(100))}})
    new = put(state, ("a", "deep", "y", 1), 9)
    assert thaw(new)["a"]["deep"]["y"] == [1, 9, 3]
    assert thaw(state)["a"]["deep"]["y"] == [1, 2, 3]
    assert get(new, ("b",)) is get(state, ("b",))
    assert thaw(update(state, ("a", "x"), lambda n: n + 1))["a"]["x"] == 2
    assert thaw(put(state, ("a",), MISSING)) == {"b": {"big": list(range(100))}}
    assert get(state, ("a", "none", "at all")) is MISSING
    assert update(state, ("c",), lambda n: 1 if n is MISSING else 0)["c"] == 1


@pytest.mark.parametrize("path", [("none", "x"), ("list", 3), ("list", "x"), ("list", 0, "x"), ("plain", "x")])
def test_a_path_that_leads_nowhere_is_refused(path: Any) -> None:
    """A state is not made larger by a mistake."""
    state = freeze({"list": [1, 2, 3], "plain": 1})
    with pytest.raises(NotFound):
        put(state, path, 1)
    assert get(state, path) is MISSING


def test_freeze_takes_models_dataclasses_enums_and_instants() -> None:
    """And gives what JSON has a place for."""

    class Model(BaseModel):
        n: int
        inner: list[dict[str, int]]

    @dataclass
    class Data:
        model: Model
        at: datetime

    class Kind(StrEnum):
        ONE = "one"

    made = freeze(Data(Model(n=1, inner=[{"x": 1}]), datetime(2013, 1, 15, 12, tzinfo=UTC)))
    assert thaw(made) == {"model": {"n": 1, "inner": [{"x": 1}]}, "at": "2013-01-15T12:00:00.000000Z"}
    assert type(freeze(Kind.ONE)) is str
    assert freeze(made) is made


@pytest.mark.parametrize("value", [{1: 2}, {"a": {3}}, b"x", object()])
def test_freeze_refuses_what_json_has_no_place_for(value: Any) -> None:
    """With what to do."""
    with pytest.raises(Invalid):
        freeze(value)


def test_a_state_may_not_be_nested_without_end() -> None:
    """So that none exhausts the stack."""
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    with pytest.raises(Invalid, match="deep"):
        freeze(deep)
    with pytest.raises(Invalid, match="deep"):
        between(_deep(100, 1), _deep(100, 2))


def _deep(levels: int, leaf: int) -> Any:
    made: Any = leaf
    for _ in range(levels):
        made = HashTrieMap({"a": made})
    return made


SHARING = """
import sys, resource
from nerv.state import freeze, put
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
values = {f"key-{n}": f"value {n}" for n in range(10_000)}
before = resident()
states = [freeze(values)]
one = resident() - before
for n in range(1_000):
    states.append(put(states[-1], (f"key-{n * 7}",), f"changed {n}"))
print(one, resident() - before, len(states))
"""


def test_versions_of_a_state_share_what_they_have_in_common() -> None:
    """1,000 versions of a state of 10,000 keys take less than three times the memory of one."""
    done = subprocess.run([sys.executable, "-c", SHARING], capture_output=True, text=True, check=True)
    one, all_of_them, count = map(int, done.stdout.split())
    assert count == 1_001
    assert one > 100_000
    assert all_of_them < 3 * one


def state(version: int, entity: str = "a") -> VersionedState[int]:
    """A state that says its version."""
    return VersionedState(EntityId(entity), VersionId(version), version * 10)


def test_the_cache_gives_the_nearest_version_below() -> None:
    """Of that entity; the latest without a bound."""
    cache: ProjectionCache[int] = ProjectionCache()
    for version in (3, 7, 5):
        cache.put(state(version))
    cache.put(state(6, "b"))
    found = [cache.nearest(EntityId("a"), version) for version in (2, 3, 6, 99, None)]
    assert [None if f is None else f.version for f in found] == [None, 3, 5, 7, 7]
    cache.forget(EntityId("a"))
    assert cache.nearest(EntityId("a")) is None
    assert len(cache) == 1


def test_the_cache_is_bounded() -> None:
    """What was used least recently goes, and the counters say so."""
    cache: ProjectionCache[int] = ProjectionCache(2)
    cache.put(state(1))
    cache.put(state(2))
    cache.nearest(EntityId("a"), 1)
    cache.put(state(3))
    assert cache.nearest(EntityId("a"), 2) == state(1)
    assert cache.describe().counters == {"held": 2, "hits": 2, "misses": 0, "evicted": 1}
    with pytest.raises(Invalid):
        ProjectionCache(0)
