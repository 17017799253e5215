# SPDX-License-Identifier: Apache-2.0
"""States as values: maps that share what they have in common, and focused updates by path."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from typing import Any, Final, TypeAlias

from pydantic import BaseModel
from rpds import HashTrieMap

from nerv.errors import Invalid, NotFound
from nerv.types import format_instant

Map: TypeAlias = "HashTrieMap[str, Any]"
"""A persistent map: `insert` gives a new one in about a microsecond, which shares all else with the old one."""

Path: TypeAlias = tuple[str | int, ...]
"""Keys of maps and indices of tuples, from the root; () is the whole state."""

DEPTH = 64  # of nested maps and tuples; deeper states are refused, so that no state can exhaust the stack


class _Missing(Enum):
    MISSING = "missing"

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing.MISSING
"""What stands where nothing is."""


def freeze(value: Any, depth: int = DEPTH) -> Any:
    """`value` with persistent maps for mappings, models and dataclasses, and tuples for lists; instants become text.

    What is frozen already is passed through as it is. Raises Invalid for what JSON has no place for.
    """
    if value is None or isinstance(value, str | bool | int | float | HashTrieMap):
        return value.value if isinstance(value, Enum) else value
    if depth == 0:
        raise Invalid(f"a state is nested at most {DEPTH} deep")
    if isinstance(value, BaseModel):
        return HashTrieMap({name: freeze(getattr(value, name), depth - 1) for name in type(value).model_fields})
    if is_dataclass(value) and not isinstance(value, type):
        return HashTrieMap({f.name: freeze(getattr(value, f.name), depth - 1) for f in fields(value)})
    if isinstance(value, Mapping):
        return HashTrieMap({_key(key): freeze(inner, depth - 1) for key, inner in value.items()})
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return tuple(freeze(inner, depth - 1) for inner in value)
    if isinstance(value, datetime):
        return format_instant(value)
    if isinstance(value, date):
        return value.isoformat()
    raise Invalid(f"a state cannot hold {type(value).__name__}; make it a mapping, a list or a plain value")


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise Invalid(f"keys of a state are text, not {type(key).__name__}: {key!r}")
    return key


def thaw(value: Any) -> Any:
    """The same in dicts and lists, for JSON."""
    if isinstance(value, HashTrieMap):
        return {key: thaw(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return [thaw(inner) for inner in value]
    return value


def get(state: Any, path: Path) -> Any:
    """What stands at a path; MISSING where nothing does."""
    for step in path:
        if isinstance(state, HashTrieMap):
            state = state.get(step, MISSING)
        elif isinstance(state, tuple) and isinstance(step, int) and 0 <= step < len(state):
            state = state[step]
        else:
            return MISSING
    return state


def put(state: Any, path: Path, value: Any) -> Any:
    """The state with `value` at a path; MISSING takes away what is there. All that is not on the path is shared.

    Raises NotFound when the path leads through what is not there.
    """
    if not path:
        return value
    step, rest = path[0], path[1:]
    if isinstance(state, HashTrieMap):
        if rest:
            inner = state.get(step, MISSING)
            if inner is MISSING:
                raise NotFound(f"there is no {step!r} in the state, so {list(path)} leads nowhere")
            return state.insert(step, put(inner, rest, value))
        return state.discard(step) if value is MISSING else state.insert(step, value)
    if isinstance(state, tuple) and isinstance(step, int) and 0 <= step < len(state) and (rest or value is not MISSING):
        return (*state[:step], put(state[step], rest, value), *state[step + 1 :])
    raise NotFound(f"{list(path)} leads nowhere: {type(state).__name__} has no {step!r}")


def update(state: Any, path: Path, function: Callable[[Any], Any]) -> Any:
    """The state with `function` applied to what stands at a path (MISSING where nothing does)."""
    return put(state, path, function(get(state, path)))
