# SPDX-License-Identifier: Apache-2.0
"""Deltas between states as they are written, for whoever holds two JSON documents and needs what lies between."""

from typing import Any

import orjson

from nerv.state.values import MISSING, Path

_Change = tuple[Path, list[Any], list[Any]]

_SCALARS = frozenset({str, int, bool, type(None)})


def written_between(old: bytes, new: bytes) -> bytes:
    """What `between` gives of two states as JSON, in the wire form of `Delta.to_bytes`, without making states of them.

    The order of the changes is that in which the members stand.
    """
    if old == new:
        return b"[]"
    found: list[_Change] = []
    _differ(orjson.loads(old), orjson.loads(new), (), found)
    return orjson.dumps(found)


def _differ(old: Any, new: Any, path: Path, found: list[_Change]) -> None:
    kind = type(new)
    if kind is not type(old):
        found.append((path, [old], [new]))
    elif kind is dict:
        _differ_in_members(old, new, path, found)
    elif kind is list and len(old) == len(new):
        for index, (left, right) in enumerate(zip(old, new, strict=True)):
            _differ(left, right, (*path, index), found)
    elif old != new:
        found.append((path, [old], [new]))


def _differ_in_members(old: dict[str, Any], new: dict[str, Any], path: Path, found: list[_Change]) -> None:
    for name, right in new.items():
        left = old.get(name, MISSING)
        if left is MISSING:
            found.append(((*path, name), [], [right]))
        elif left is right:
            continue
        elif type(left) is type(right) and type(right) in _SCALARS:  # of others equal does not say it: [1] == [True]
            if left != right:
                found.append(((*path, name), [left], [right]))
        else:
            _differ(left, right, (*path, name), found)
    if len(old) >= len(new) or not old.keys() <= new.keys():
        found += [((*path, name), [left], []) for name, left in old.items() if name not in new]
