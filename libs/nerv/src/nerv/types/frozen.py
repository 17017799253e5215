# SPDX-License-Identifier: Apache-2.0
"""Frozen, slotted dataclasses that may be generic."""

from dataclasses import FrozenInstanceError, dataclass
from typing import NoReturn, TypeVar, cast, dataclass_transform

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
    return made
