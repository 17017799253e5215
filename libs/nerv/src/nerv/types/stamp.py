# SPDX-License-Identifier: Apache-2.0
"""Stamps of a hybrid logical clock: instants that also say which of two writes could have known of the other.

After Kulkarni, Demirbas, Madappa, Avva and Leone, "Logical Physical Clocks" (2014).
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from nerv.errors import Invalid

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Stamp(NamedTuple):
    """Microseconds since 1970 (UTC), a counter within one of them, and the node whose clock it was. Stamps sort in this
    order; a write that had seen another has the greater one, whatever the wall clocks said.
    """

    wall_us: int
    counter: int = 0
    node: str = ""

    @classmethod
    def of(cls, instant: datetime, node: str = "") -> "Stamp":
        """The stamp of an instant that some other clock has told. It must have an offset."""
        return cls((instant - _EPOCH) // _MICROSECOND, 0, node)

    @property
    def instant(self) -> datetime:
        """The instant, UTC, without the counter."""
        return _EPOCH + timedelta(microseconds=self.wall_us)

    def __str__(self) -> str:
        return f"{self.wall_us}.{self.counter}@{self.node}"

    @classmethod
    def parse(cls, text: str) -> "Stamp":
        """What `str` has written. Raises Invalid."""
        numbers, at, node = text.partition("@")
        wall, dot, counter = numbers.partition(".")
        if not (at and dot and wall.isdecimal() and counter.isdecimal()):
            raise Invalid(f"{text[:60]!r} is not a stamp such as 1358251200000000.0@node")
        return cls(int(wall), int(counter), node)
