# SPDX-License-Identifier: Apache-2.0
"""Frozen classes behave as frozen dataclasses do, whichever way they are made."""

import copy
import dataclasses
import inspect
from typing import Any, Generic, TypeVar

import pytest

from nerv.types.frozen import frozen

V = TypeVar("V")


@frozen
class Plain(Generic[V]):
    """Every field may be given by place."""

    name: str
    value: V
    count: int = 7


@frozen
class Wider(Plain[V]):
    """A subclass with a field of its own."""

    more: str = "more"


@frozen
class Filled:
    """A field that is made for each object."""

    parts: list[int] = dataclasses.field(default_factory=list)


@frozen
class Checked:
    """An object that looks at itself when it is made."""

    count: int

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError("negative")


@pytest.mark.parametrize(
    "made", [Plain("a", 1), Plain[int]("a", value=1), Wider("a", 1, more="b"), Filled(), Checked(1)]
)
def test_it_is_equal_to_its_copies_and_cannot_be_changed(made: Any) -> None:
    """By copy, deep copy and replace; no field can be set or deleted."""
    for other in (copy.copy(made), copy.deepcopy(made), dataclasses.replace(made)):
        assert other == made
    field = dataclasses.fields(made)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, field, 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        delattr(made, field)


def test_defaults_are_those_of_the_class() -> None:
    """Also in a subclass, and a fresh list for each object."""
    assert (Plain("a", 1).count, Wider("a", 1).count, Wider("a", 1).more) == (7, 7, "more")
    assert Filled().parts is not Filled().parts
    assert str(inspect.signature(Plain)) == "(name: str, value: ~V, count: int = 7) -> None"


def test_what_does_not_fit_is_refused() -> None:
    """A missing, an unknown and a bad one, as by dataclass."""
    with pytest.raises(TypeError, match=r"Plain.__init__\(\) missing 1 required positional argument: 'value'"):
        Plain("a")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'nothing'"):
        Plain("a", 1, nothing=1)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="negative"):
        Checked(-1)
