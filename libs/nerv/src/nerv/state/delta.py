# SPDX-License-Identifier: Apache-2.0
"""A delta is what turns one state into another: the smallest set of changes, each with what was and what is.

Deltas form a groupoid over states: `apply` and `invert` undo each other, `compose` is associative. They are canonical:
`between(a, c)` equals `between(a, b).compose(between(b, c))`.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import orjson
from rpds import HashTrieMap

from nerv.errors import Invalid, NotFound, SchemaMismatch, VersionConflict
from nerv.state.values import DEPTH, MISSING, Path, freeze, get, put, thaw
from nerv.types import frozen


class Change(NamedTuple):
    """One place that changed: what stood there, and what stands there now; MISSING is nothing."""

    path: Path
    old: Any
    new: Any


@frozen
class Delta:
    """Changes of places of which none lies within another, in order of their paths. Make one by `between` or `changed`."""

    changes: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changes)

    def apply(self, state: Any) -> Any:
        """The state that this delta leads to. Raises VersionConflict when it does not start at `state`."""
        for path, old, new in self.changes:
            found = get(state, path)
            if found is not old and not _same(found, old):
                raise VersionConflict(
                    f"the delta does not fit: at {list(path)} stands {_short(found)}, not {_short(old)}"
                )
            if len(path) == 1 and new is not MISSING and isinstance(state, HashTrieMap):
                state = state.insert(path[0], new)  # by far the most frequent case
            else:
                try:
                    state = put(state, path, new)
                except NotFound as error:
                    raise VersionConflict(f"the delta does not fit: {error}") from None
        return state

    def invert(self) -> "Delta":
        """The delta back."""
        return Delta(tuple(Change(path, new, old) for path, old, new in self.changes))

    def compose(self, following: "Delta") -> "Delta":
        """This one and then `following`, as one. Raises VersionConflict when the second does not start where this one ends."""
        merged = {change.path: change for change in self.changes}
        for change in following.changes:
            _merge(merged, change)
        return Delta(_canonical(merged.values()))

    def to_bytes(self) -> bytes:
        """The wire form: a JSON list of [path, [old] or [], [new] or []]."""
        return orjson.dumps([[path, _boxed(old), _boxed(new)] for path, old, new in self.changes])

    @classmethod
    def from_bytes(cls, data: bytes) -> "Delta":
        """The delta of a wire form. Raises SchemaMismatch for what is none."""
        try:
            found = [Change(tuple(path), _unboxed(old), _unboxed(new)) for path, old, new in orjson.loads(data)]
        except (ValueError, TypeError) as error:
            raise SchemaMismatch(f"not a delta: {error}") from None
        if not all(isinstance(step, str | int) for path, _, _ in found for step in path):
            raise SchemaMismatch("not a delta: a path is made of text and whole numbers")
        return cls(tuple(found))


def between(old: Any, new: Any) -> Delta:
    """The delta from one state to another (frozen, or anything that `freeze` takes). Takes time in their size, except
    where they share.
    """
    return Delta(_sorted(_differences(freeze(old), freeze(new), ())))


def changed(state: Any, path: Path, value: Any) -> tuple[Any, Delta]:
    """The state with `value` at a path, and the delta that leads there: in the time of the path, not of the state."""
    new, old = freeze(value) if value is not MISSING else MISSING, get(state, path)
    return put(state, path, new), Delta(_sorted(_differences(old, new, path)))


def _differences(old: Any, new: Any, path: Path) -> Iterator[Change]:
    if old is new:
        return
    if len(path) > DEPTH:
        raise Invalid(f"a state is nested at most {DEPTH} deep")
    if isinstance(old, HashTrieMap) and isinstance(new, HashTrieMap):
        gone = 0
        for key, inner in old.items():
            other = new.get(key, MISSING)
            gone += other is MISSING
            if inner is not other:
                yield from _differences(inner, other, (*path, key))
        if len(old) - gone < len(new):
            yield from (Change((*path, key), MISSING, inner) for key, inner in new.items() if key not in old)
    elif isinstance(old, tuple) and isinstance(new, tuple) and len(old) == len(new):
        for index, (left, right) in enumerate(zip(old, new, strict=True)):
            yield from _differences(left, right, (*path, index))
    elif not _same(old, new):
        yield Change(path, old, new)


def _same(left: Any, right: Any) -> bool:
    # 1, 1.0 and True are equal to Python, but not the same state.
    if type(left) is not type(right):
        return False
    if isinstance(left, tuple | HashTrieMap):
        return len(left) == len(right) and _alike(left, right)
    return bool(left == right)


def _alike(left: Any, right: Any) -> bool:
    return next(_differences(left, right, ()), None) is None


def _merge(merged: dict[Path, Change], change: Change) -> None:
    path, old, new = change
    known = merged.get(path)
    if known is not None:
        _meets(known.new, old, path)
        merged[path] = Change(path, known.old, new)
        return
    for size in range(len(path)):  # within a place that changed before
        above = merged.get(path[:size])
        if above is not None:
            _meets(get(above.new, path[size:]), old, path)
            merged[above.path] = Change(above.path, above.old, put(above.new, path[size:], new))
            return
    within = [found for found in merged if found[: len(path)] == path]
    was = old
    for found in within:  # around places that changed before
        inner = merged.pop(found)
        _meets(get(old, found[len(path) :]), inner.new, found)
        was = put(was, found[len(path) :], inner.old)
    merged[path] = Change(path, was, new)


def _meets(end: Any, start: Any, path: Path) -> None:
    if end is not start and not _same(end, start):
        raise VersionConflict(
            f"the deltas do not follow each other: {list(path)} ends as {_short(end)}, not {_short(start)}"
        )


def _canonical(changes: Iterable[Change]) -> tuple[Change, ...]:
    return _sorted(found for path, old, new in changes for found in _differences(old, new, path))


def _sorted(changes: Iterable[Change]) -> tuple[Change, ...]:
    found = tuple(changes)
    if len(found) < 2:
        return found
    return tuple(sorted(found, key=lambda change: [(isinstance(step, str), step) for step in change.path]))


def _boxed(value: Any) -> list[Any]:
    return [] if value is MISSING else [thaw(value)]


def _unboxed(box: list[Any]) -> Any:
    if not isinstance(box, list) or len(box) > 1:
        raise ValueError("old and new are lists of at most one value")
    return freeze(box[0]) if box else MISSING


def _short(value: Any) -> str:
    text = repr(thaw(value))
    return text if len(text) <= 60 else text[:57] + "..."
