# SPDX-License-Identifier: Apache-2.0
"""Frozen, slotted dataclasses that may be generic."""

from dataclasses import MISSING, FrozenInstanceError, dataclass, fields
from functools import wraps
from typing import Any, NoReturn, TypeVar, cast, dataclass_transform

C = TypeVar("C", bound=type)


def _refuse(self: object, name: str, value: object = None) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


@dataclass_transform(frozen_default=True)
def frozen(cls: C) -> C:
    """`@dataclass(frozen=True, slots=True)` for generic classes.

    What dataclass makes for slots=True refers to the class as it was without slots; then `Event[bytes](...)`, which tries
    to note its type on the new object, fails with a TypeError (seen on 3.11).
    """
    made = cast("C", dataclass(frozen=True, slots=True)(cast("type", cls)))
    for name in ("__setattr__", "__delattr__"):
        setattr(made, name, _refuse)
    if _is_plain(made):
        cast("Any", made).__init__ = _by_slots(made)
    return made


def _is_plain(made: type) -> bool:
    """Each field is an argument that may be given by place and is stored as it came."""
    plain = all(f.init and not f.kw_only and f.default_factory is MISSING for f in fields(cast("Any", made)))
    return plain and not hasattr(made, "__post_init__")


def _by_slots(made: type) -> Any:
    """`__init__` that sets each slot by its descriptor.

    An Event is made in 0.6 us; by `object.__setattr__`, as dataclass does, it takes 1.2.
    """
    names = [f.name for f in fields(cast("Any", made))]
    initial = cast("Any", made).__init__
    setters: dict[str, Any] = {f"set_{name}": getattr(made, name).__set__ for name in names}
    lines = "\n".join(f"    set_{name}(self, {name})" for name in names) or "    pass"
    exec(f"def __init__(self, {', '.join(names)}):\n{lines}", setters)  # noqa: S102 - the class's own field names, as dataclass does
    setters["__init__"].__defaults__ = initial.__defaults__
    return wraps(initial)(setters["__init__"])
