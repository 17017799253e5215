# SPDX-License-Identifier: Apache-2.0
"""What a perspective says of a field beside its type, as `Annotated[type, Marker(...)]`."""

import math
from dataclasses import dataclass

from nerv.errors import Misconfigured


@dataclass(frozen=True, slots=True)
class Identifier:
    """The field tells which entity a row is of; several do so together, in order. Its type is str or int."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """The field is shown, and not compared: two rows that differ only in it are equal."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Two numbers of this field are equal when they lie at most `absolute` apart, in the unit of the field."""

    absolute: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.absolute) and self.absolute > 0):
            raise Misconfigured(f"a tolerance is a finite number above 0, not {self.absolute}")
