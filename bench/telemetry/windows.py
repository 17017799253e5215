# SPDX-License-Identifier: Apache-2.0
"""Work that goes on, cut into windows, each in a mode of its own, and what their CPU says. Pure.

What is counted is what the service works on: requests to the broker, events that the projector folds.

A window is compared with its neighbours, before and after it alike, so that what changes slowly falls on both: a machine's moods
change the cost of a request by a fifth (ADR 19).
"""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from bench.telemetry.modes import Mode


class Window(NamedTuple):
    """What is traced; and whether the spans of the windows before are written in this one."""

    mode: Mode
    writes: bool = False


class Noted(NamedTuple):
    """Microseconds of CPU, and for how many of what is counted."""

    cpu: float
    number: int

    @property
    def each(self) -> float:
        """Of one."""
        return self.cpu / self.number


class Series(NamedTuple):
    """So many rounds of the same modes, then one window in which their spans are written, between two others.

    Of each window the first `settling` do not count, and the next `size` do: so many, or a few more.
    """

    modes: tuple[Mode, ...]
    rounds: int
    settling: int
    size: int

    def windows(self) -> list[Window]:
        """All of a turn."""
        nothing = Window(Mode.NONE)
        return [*map(Window, self.modes * self.rounds), nothing, Window(Mode.NONE, writes=True), nothing]


TRACED = (Mode.HUNDREDTH, Mode.ALL)
FEW = (Mode.NONE, Mode.OFF, Mode.HUNDREDTH, Mode.HUNDREDTH, Mode.OFF, Mode.NONE)
EVERY = (Mode.NONE, Mode.ALL, Mode.NONE)

# By service, and by what its work is traced: few of it, or every one.
#
# Of the broker 64 connections, each of which waits for its answer, come in step with it, which is cheaper; what holds up a
# request breaks the step, of all connections and for some rounds. Its spans are written as many at a time as by a replica that
# has this load and traces all the time: those of some fifty traces; where each request is one, of a thousand, for not many more
# may wait.
#
# The projector folds a slice at a time, and ten make a batch: in ten rounds each mode has had each of their places, before and
# after the others alike. A slice more to settle would change nothing: what comes after traced ones takes 0.3 +- 0.3 % more.
SERIES: Mapping[str, Mapping[str, Series]] = {
    "broker": {"few": Series(FEW, 8, 64, 256), "every": Series(EVERY, 3, 64, 256)},
    "projector": {"few": Series(FEW, 10, 0, 1_000), "every": Series(EVERY, 10, 0, 1_000)},
}


class Rounds(NamedTuple):
    """Microseconds of CPU for one of what is counted, in each round beside those without the calls that make spans; `writing`
    is what one that may be traced takes later, in each turn.
    """

    bare: list[float]
    more: dict[Mode, list[float]]
    writing: list[float]


def rounds_of(series: Series, noted: Sequence[Noted]) -> Rounds:
    """What the whole turns of a series say."""
    made = Rounds([], {mode: [] for mode in series.modes if mode is not Mode.NONE}, [])
    size, length = len(series.modes), len(series.windows())
    for begin in range(0, len(noted) - length + 1, length):
        turn = noted[begin : begin + length]
        for at in range(0, size * series.rounds, size):
            each = {mode: _mean(turn[at : at + size], series.modes, mode) for mode in series.modes}
            made.bare.append(each[Mode.NONE])
            for mode, more in made.more.items():
                more.append(each[mode] - each[Mode.NONE])
        before, writes, after = turn[-3:]
        written = writes.cpu - writes.number * (before.each + after.each) / 2
        pairs = zip(turn, series.modes * series.rounds, strict=False)
        made.writing.append(written / sum(series.settling + one.number for one, mode in pairs if mode in TRACED))
    return made


def _mean(found: Sequence[Noted], modes: Sequence[Mode], wanted: Mode) -> float:
    return fmean(one.each for one, mode in zip(found, modes, strict=True) if mode is wanted)


class Share(NamedTuple):
    """How much more CPU a mode takes, %, and how far that may be off (one standard error)."""

    more: float
    error: float


def share(one: Rounds, mode: Mode) -> Share:
    """What a mode takes, with what is written later."""
    parts = [one.more[mode]] if mode is Mode.OFF else [one.more[mode], one.writing]
    more = sum(fmean(part) for part in parts)
    error: float = sum(stdev(part) ** 2 / len(part) for part in parts) ** 0.5
    return Share(more / fmean(one.bare) * 100, error / fmean(one.bare) * 100)
