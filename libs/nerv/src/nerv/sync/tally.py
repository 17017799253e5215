# SPDX-License-Identifier: Apache-2.0
"""What became of the steps of a sync: every one is done, refused or unknown, or was not tried."""

from collections.abc import Sequence
from typing import Any

from nerv.errors import NervError, Unavailable, UnknownOutcome, VersionConflict
from nerv.protocols.side import Step, WriteOutcome, Written

PROBLEMS_SHOWN = 50


class Tally:
    """Counts while a plan is applied; `untried` are the steps that an unknown outcome left over, `moved` the keys of those
    refused because their object had changed since it was compared, `steps` how many there are, where somebody says so.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.done = 0
        self.refused = 0
        self.unknown = 0
        self.untried = 0
        self.moved: list[str] = []
        self.problems: list[tuple[Step, str, NervError]] = []

    def add(self, steps: Sequence[Step], outcomes: Sequence[WriteOutcome]) -> None:
        """Count the outcomes of a batch. Raises Unavailable for a step that did not happen: the sync may go on later."""
        missed: Unavailable | None = None
        for step, outcome in zip(steps, outcomes, strict=True):
            if isinstance(outcome, Written):
                self.done += 1
            elif isinstance(outcome, Unavailable):
                missed = outcome
            elif isinstance(outcome, UnknownOutcome):
                self.unknown += 1
                self._note(step, "unknown", outcome)
            else:
                self.refused += 1
                self._note(step, "refused", outcome)
                if isinstance(outcome, VersionConflict):
                    self.moved.append(step.key)
        if missed is not None:
            raise missed

    def settle(self, later: "Tally") -> None:
        """Take over what became of the moved objects when they were compared and tried again."""
        moved = set(self.moved)
        self.refused += later.refused - len(self.moved)
        self.done += later.done
        self.unknown += later.unknown
        self.untried += later.untried
        self.problems = [found for found in self.problems if found[0].key not in moved] + later.problems
        self.moved = later.moved

    def _note(self, step: Step, verdict: str, error: NervError) -> None:
        if len(self.problems) < PROBLEMS_SHOWN:
            self.problems.append((step, verdict, error))

    @property
    def status(self) -> str:
        """`done`, `conflicts` when a step was refused, `unknown` when the outcome of one is not known."""
        if self.unknown:
            return "unknown"
        return "conflicts" if self.refused else "done"

    def counts(self) -> dict[str, int]:
        """The counts by outcome."""
        return {"done": self.done, "refused": self.refused, "unknown": self.unknown, "untried": self.untried}

    def progress(self) -> dict[str, int]:
        """The counts, and of how many steps they are."""
        return {"steps": self.steps, **self.counts()}

    def to_dict(self) -> dict[str, Any]:
        """The counts, and the first of the steps that were not done; JSON-able."""
        return {
            "status": self.status,
            "outcomes": self.counts(),
            "problems": [
                {"side": s.side, "action": s.action.value, "key": s.key, "outcome": verdict,
                 "problem": type(error).__name__, "detail": error.detail}
                for s, verdict, error in self.problems
            ],
        }  # fmt: skip
