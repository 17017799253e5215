# SPDX-License-Identifier: Apache-2.0
"""How long units of a kind last, and what follows from it: how many are fused, which are split, how large the pool is."""

import math

from nerv.types import frozen

WEIGHT = 0.2  # of the newest duration in a kind's mean: five units make up most of it
OUTLIER = 8.0  # times the mean: a longer duration counts as so much, for most often its thread was made to wait
MOST_FUSED = 512  # units in one hop: what one cancellation or one lost process can concern at most
SPLIT_OVER = 4.0  # a unit is split when it lasts longer than so many targets for every worker
PARTS_PER_WORKER = 4  # small enough parts that the last one to end does not keep the others waiting
OVERTIME = 2.0  # targets after which a hop ends early and gives back what it has not begun
WORTH_WAKING = 0.25  # of a target: less ready work than this is left to who is awake, until the next look round


@frozen
class Options:
    """What a run is bound by. Times are in seconds."""

    low: int
    high: int
    target: float
    stealing: bool
    cancels: bool  # the first error ends the run
    queue: int  # ready units that one worker may have for itself
    repeats: bool  # a unit whose process died runs once more
    grace: float  # for what is running when the run is to end


class Kind:
    """What is known of a kind of units. `mean` is the guess of their seconds, `ready` how many of them wait to run."""

    __slots__ = ("mean", "measured", "name", "ready", "solid")

    def __init__(self, name: str, guess: float, *, measured: bool) -> None:
        self.name = name
        self.mean = guess
        self.measured = measured  # or expected by its author, which counts as much until the first measurement
        self.ready = 0
        self.solid = False  # was asked to split, and cannot

    def note(self, seconds: float) -> float:
        """Take a measured duration into the mean. Answers by how much the mean changed."""
        before = self.mean
        self.mean = before + WEIGHT * (min(seconds, OUTLIER * before) - before) if self.measured else seconds
        self.measured = True
        return self.mean - before

    def parts(self, options: Options) -> int:
        """Into how many parts a unit of this kind should be split now; 1: not at all."""
        if self.solid or not self.measured or options.high == 1:
            return 1
        if self.mean <= SPLIT_OVER * options.target * options.high:
            return 1
        return min(PARTS_PER_WORKER * options.high, math.ceil(self.mean / options.target))


def crew_wanted(options: Options, *, busy: int, ready: int, seconds: float) -> int:
    """How many workers there should be: those that are busy and one for each target's worth of ready work."""
    need = 0 if seconds < WORTH_WAKING * options.target else min(ready, math.ceil(seconds / options.target))
    return max(options.low, min(options.high, busy + need))
