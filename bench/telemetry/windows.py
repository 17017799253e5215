# SPDX-License-Identifier: Apache-2.0
"""A load that goes on, cut into windows of requests, each in a mode of its own, and what their CPU says. Pure.

A window is compared with its neighbours, before and after it alike, so that what changes slowly falls on both: a machine's moods
change the cost of a request by a fifth (ADR 19).
"""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from bench.telemetry.modes import Mode

NAME, FILE = "BENCH_SERIES", "BENCH_NOTED"  # a server is told by these which series, and where it notes what it took
# Requests whose CPU counts, and those before them that do not: 64 connections, each of which waits for its answer, come in step
# with the broker, which is cheaper for it; what holds up a request breaks the step, of all connections and for some rounds.
WINDOW = 256
SETTLING = 64


class Window(NamedTuple):
    """What is traced; and whether the spans of the windows before are written in this one."""

    mode: Mode
    writes: bool = False


class Noted(NamedTuple):
    """Microseconds of CPU of the whole process, and for how many requests."""

    cpu: float
    requests: int

    @property
    def each(self) -> float:
        """Of one request."""
        return self.cpu / self.requests


class Series(NamedTuple):
    """So many rounds of the same modes, then one window in which their spans are written, between two others."""

    modes: tuple[Mode, ...]
    rounds: int

    def windows(self) -> list[Window]:
        """All of a turn."""
        nothing = Window(Mode.NONE)
        return [*map(Window, self.modes * self.rounds), nothing, Window(Mode.NONE, writes=True), nothing]

    @property
    def traced(self) -> int:
        """In how many windows of a round there are spans."""
        return sum(1 for mode in self.modes if mode in (Mode.HUNDREDTH, Mode.ALL))


# Spans are written as many at a time as by a replica that has this load and traces all the time: those of some fifty traces;
# where each request is one, of a thousand, for not many more may wait.
SERIES: Mapping[str, Series] = {
    "few": Series((Mode.NONE, Mode.OFF, Mode.HUNDREDTH, Mode.HUNDREDTH, Mode.OFF, Mode.NONE), 8),
    "every": Series((Mode.NONE, Mode.ALL, Mode.NONE), 3),
}


class Rounds(NamedTuple):
    """Microseconds of CPU a request, in each round beside the one without the calls that make spans; `writing` is what a request
    that may be traced takes later, in each turn.
    """

    bare: list[float]
    more: dict[Mode, list[float]]
    writing: list[float]


def rounds_of(series: Series, noted: Sequence[Noted]) -> Rounds:
    """What the whole turns of a series say, but the first, in which spans are written of requests that came before it."""
    made = Rounds([], {mode: [] for mode in series.modes if mode is not Mode.NONE}, [])
    size, length = len(series.modes), len(series.windows())
    for begin in range(length, len(noted) - length + 1, length):
        turn = noted[begin : begin + length]
        for at in range(0, size * series.rounds, size):
            each = {mode: _mean(turn[at : at + size], series.modes, mode) for mode in series.modes}
            made.bare.append(each[Mode.NONE])
            for mode, more in made.more.items():
                more.append(each[mode] - each[Mode.NONE])
        before, writes, after = turn[-3:]
        written = writes.cpu - writes.requests * (before.each + after.each) / 2
        made.writing.append(written / (series.rounds * series.traced * (SETTLING + WINDOW)))
    return made


def _mean(turn: Sequence[Noted], modes: Sequence[Mode], wanted: Mode) -> float:
    return fmean(one.each for one, mode in zip(turn, modes, strict=True) if mode is wanted)


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
