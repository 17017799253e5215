# SPDX-License-Identifier: Apache-2.0
"""What passes between a schedule and those who do the work."""

from collections import deque
from typing import Any, NamedTuple


class Lost(Exception):
    """The process died that ran the unit."""


class Outcome(NamedTuple):
    """How one unit ended; instants are of `time.monotonic`, in seconds."""

    unit: int
    error: BaseException | None
    value: Any
    began: float
    ended: float


class Worker:
    """What the schedule knows of one worker. `batch` is what it runs now, `outcomes` what of it has ended."""

    __slots__ = (
        "batch",
        "began",
        "divide",
        "gone",
        "hop",
        "number",
        "outcomes",
        "own",
        "reach",
        "reason",
        "returning",
        "waiting",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.own: deque[int] = deque()
        self.batch: list[int] = []
        self.outcomes: list[Outcome] = []
        self.began = 0.0
        self.hop = 0
        self.divide = 0  # into how many parts its batch of one should be split before it is run
        self.reach = 1  # units it may fuse; doubled from hop to hop, as a guess about a kind is worth little at first
        self.gone = False  # it was given up: what it still brings is late
        self.reason = ""  # why what it runs is being broken off
        self.returning = False  # it has stopped running units and is about to settle
        self.waiting = False
