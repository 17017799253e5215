# SPDX-License-Identifier: Apache-2.0
"""What a run leaves: results, failures, what was not begun, and when who did what."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from nerv.errors import Invalid, NotFound, UnknownOutcome
from nerv.types import frozen

_BUSY = 0.5  # a cell of the chart is full when its worker was busy for half of it


class Span(NamedTuple):
    """One unit on one worker, in seconds since the run began. Units of one `batch` shared a hop. A part of a split unit
    is named `unit[0]`, the merging of parts `unit[merge]`.
    """

    unit: str
    worker: int
    start: float
    end: float
    batch: int


@frozen
class Progress:
    """A run at one moment. `done + failed + cancelled` is `total` at its end; parts of split units count as `ready` and
    `running`, never in the others. `seconds` since it began.
    """

    total: int
    done: int
    failed: int
    cancelled: int
    ready: int
    running: int
    workers: int
    seconds: float


@frozen
class RunRecord:
    """What became of each unit, in exactly one of three places:

    `results`   it ran and gave this
    `failures`  it raised this; or this is an UnknownOutcome, for it had begun and nobody knows how it ended
    `cancelled` it did not begin, and why

    `gantt` are the spans in the order of their ends. `pool` is (seconds, workers) at each change of the pool's size. `counters`:
    `hops`, `fused` (units that shared a hop with one before), `split`, `parts`, `steals`, `stolen` (units), `again` (runs
    repeated after a process died), `lost` (processes that died), `killed` (processes ended for a unit that hung), `abandoned`
    (threads left to a unit that hangs).
    """

    results: Mapping[str, Any]
    failures: Mapping[str, BaseException]
    cancelled: Mapping[str, str]
    gantt: tuple[Span, ...]
    pool: tuple[tuple[float, int], ...]
    counters: Mapping[str, int]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every unit gave a result."""
        return not self.failures and not self.cancelled

    @property
    def unknown(self) -> tuple[str, ...]:
        """The units that began and whose end nobody saw: timed out, interrupted, or their process died."""
        return tuple(name for name, error in self.failures.items() if isinstance(error, UnknownOutcome))

    def check(self) -> "RunRecord":
        """This record. Raises the first failure, if there is one."""
        for error in self.failures.values():
            raise error
        return self

    def __getitem__(self, name: str) -> Any:
        """The result of a unit. Raises its failure, or NotFound with the reason why it has none."""
        if name in self.results:
            return self.results[name]
        if name in self.failures:
            raise self.failures[name]
        raise NotFound(f"unit {name} has no result: {self.cancelled.get(name, 'it was not in the run')}")

    def busy(self) -> dict[int, float]:
        """Seconds that each worker spent in units."""
        found: dict[int, float] = {}
        for span in self.gantt:
            found[span.worker] = found.get(span.worker, 0.0) + span.end - span.start
        return dict(sorted(found.items()))

    def gantt_text(self, width: int = 60) -> str:
        """The run as text: a line for each worker, time from left to right in `width` cells (10 to 1,000).

        `#` busy for at least half of the cell, `-` for less, a blank for idle; then the share of the run that it was busy.
        Raises Invalid for another width.
        """
        if not 10 <= width <= 1000:
            raise Invalid(f"a chart is 10 to 1000 cells wide, not {width}")
        cell = max(self.seconds, 1e-9) / width
        lines = [f"{len(self.gantt)} spans in {self.seconds:.3f} s, a cell is {cell * 1000:.3g} ms"]
        for worker, seconds in self.busy().items():
            row = "".join(_mark(share) for share in self._shares(worker, cell, width))
            lines.append(f"{worker:>3} |{row}| {min(1.0, seconds / max(self.seconds, 1e-9)):4.0%}")
        return "\n".join(lines)

    def _shares(self, worker: int, cell: float, width: int) -> list[float]:
        shares = [0.0] * width
        for span in self.gantt:
            if span.worker != worker:
                continue
            for number in range(min(width - 1, int(span.start / cell)), min(width - 1, int(span.end / cell)) + 1):
                inside = min(span.end, (number + 1) * cell) - max(span.start, number * cell)
                shares[number] += max(0.0, inside) / cell
        return shares


def _mark(share: float) -> str:
    return "#" if share >= _BUSY else "-" if share > 0 else " "
