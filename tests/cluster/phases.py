# SPDX-License-Identifier: Apache-2.0
"""What happened while something was done to the cluster: requests by their outcome, and how long each service was away."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.rule import Rule

from nerv.client.client import SERVICES

NOTHING = "nothing"  # what is done between two phases


@dataclass(slots=True)
class Away:
    """Since when something is not there, for how long it was not in all, and the longest time at a stretch (seconds)."""

    since: float | None = None
    total: float = 0.0
    longest: float = 0.0

    def tell(self, there: bool, now: float) -> None:
        """It is there, or not, from now on."""
        if there and self.since is not None:
            self.total += now - self.since
            self.longest = max(self.longest, now - self.since)
            self.since = None
        elif not there and self.since is None:
            self.since = now


@dataclass(slots=True)
class Seen:
    """One service in one phase. `unready` is by its endpoints, `silent` by asking it at its address."""

    done: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    pause: float = 0.0  # the longest from one answer to the next while somebody wanted one
    unready: Away = field(default_factory=Away)
    silent: Away = field(default_factory=Away)


@dataclass(slots=True)
class Phase:
    """Something that was done, how long its parts took, and what each service was seen to do meanwhile."""

    name: str
    begun: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    seen: dict[str, Seen] = field(default_factory=lambda: {service: Seen() for service in SERVICES})


class Book:
    """All phases; what is seen is written into the one that goes on."""

    def __init__(self, screen: Console) -> None:
        self.phases = [Phase(NOTHING)]
        self._screen = screen
        self._asked: dict[str, float] = {}

    @property
    def now(self) -> Phase:
        """The phase that goes on."""
        return self.phases[-1]

    @contextmanager
    def phase(self, name: str) -> Iterator[Phase]:
        """One that lasts as long as the block."""
        phase = self._turn(name)
        try:
            yield phase
        finally:
            phase.seconds = time.monotonic() - phase.begun
            self._turn(NOTHING)

    @contextmanager
    def step(self, name: str) -> Iterator[Phase]:
        """A phase that is shown when it begins and when it is over."""
        self._screen.print(Rule(name, align="left"))
        with self.phase(name) as phase:
            yield phase
        notes = "".join(f"; {note}" for note in phase.notes)
        self._screen.print(f"  {phase.seconds:.1f} s{notes}", style="dim", markup=False, highlight=False)

    def asks(self, service: str) -> None:
        """Somebody begins to want an answer, unless somebody does already."""
        self._asked.setdefault(service, time.monotonic())

    def answered(self, service: str) -> None:
        """It came."""
        seen = self.now.seen[service]
        seen.done += 1
        # One that was asked for in the phase before is this one's from its beginning: the rest was that one's.
        asked = max(self._asked.pop(service, time.monotonic()), self.now.begun)
        seen.pause = max(seen.pause, time.monotonic() - asked)

    def failed(self, service: str, error: str) -> None:
        """An attempt came to nothing."""
        self.now.seen[service].failed[error] += 1

    def ready(self, service: str, endpoints: int) -> None:
        """So many pods of it take requests."""
        self.now.seen[service].unready.tell(endpoints > 0, time.monotonic())

    def probed(self, service: str, there: bool) -> None:
        """It was asked at its address."""
        self.now.seen[service].silent.tell(there, time.monotonic())

    def _turn(self, name: str) -> Phase:
        """Begin a phase. What is away stays so, and is counted on in the new one."""
        before, now = self.now, time.monotonic()
        self.phases.append(Phase(name, now))
        for service, seen in before.seen.items():
            for old, new in (
                (seen.unready, self.now.seen[service].unready),
                (seen.silent, self.now.seen[service].silent),
            ):
                if old.since is not None:
                    old.tell(True, now)
                    new.tell(False, now)
            if service in self._asked:
                seen.pause = max(seen.pause, now - max(self._asked[service], before.begun))
        return self.now
