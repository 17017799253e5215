# SPDX-License-Identifier: Apache-2.0
"""Deltas between states as they are written, for whoever holds two JSON documents and needs what lies between."""

from collections.abc import Iterator
from typing import Any

import orjson

from nerv.state.values import MISSING, Path

_SCALARS = frozenset({str, int, bool, type(None)})


def written_between(old: bytes, new: bytes) -> bytes:
    """What `between` gives of two states as JSON, in the wire form of `Delta.to_bytes`, without making states of them.

    The order of the changes is that in which the members stand.
    """
    if old == new:
        return b"[]"
    return orjson.dumps(list(_differences(orjson.loads(old), orjson.loads(new), ())))


def _differences(old: Any, new: Any, path: Path) -> Iterator[tuple[Path, list[Any], list[Any]]]:
    kind = type(new)
    if kind is not type(old):
        yield path, [old], [new]
    elif kind is dict:
        yield from _members(old, new, path)
    elif kind is list and len(old) == len(new):
        for index, (left, right) in enumerate(zip(old, new, strict=True)):
            yield from _differences(left, right, (*path, index))
    elif old != new:
        yield path, [old], [new]


def _members(old: dict[str, Any], new: dict[str, Any], path: Path) -> Iterator[tuple[Path, list[Any], list[Any]]]:
    for name, right in new.items():
        left = old.get(name, MISSING)
        if left is MISSING:
            yield (*path, name), [], [right]
        # Nearly all are the same; only of plain values does equal say so (1 == True, and [1] == [True]).
        elif left is not right and not (left == right and type(left) is type(right) and type(right) in _SCALARS):
            yield from _differences(left, right, (*path, name))
    if len(old) >= len(new) or not old.keys() <= new.keys():
        yield from (((*path, name), [left], []) for name, left in old.items() if name not in new)
