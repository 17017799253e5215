# SPDX-License-Identifier: Apache-2.0
"""What the machines of suite *core* share: how they are run, and how what they did becomes a verdict."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.faults.verdict import Invariant

EXAMPLES, STEPS = 2_000, 50
FEWEST = 20


def examine(machine: type[RuleBasedStateMachine], size: float, *, same: bool = False) -> None:
    """Let Hypothesis look for a life of 50 steps that breaks an invariant; raises what it finds. `same`: the same lives
    each time, and the first that breaks one is not made smaller: a unit test wants to know soon.
    """
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=max(FEWEST, int(EXAMPLES * size)),
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize=same,
            phases=[Phase.generate] if same else list(Phase),
            suppress_health_check=list(HealthCheck),
        ),
    )


@dataclass(slots=True)
class Count:
    """What the machines of a module did, over all of their lives."""

    operations: int = 0
    faults: int = 0

    def verdict(self, name: str, look: Callable[[], None]) -> Invariant:
        """The verdict on a run: what it raised is a violation; one that did too little proves nothing."""
        self.operations = self.faults = 0
        violations = []
        try:
            look()
        except Exception as error:
            violations.append("".join(traceback.format_exception_only(error))[:4000])  # with the steps of that life
        vacuous = "" if self.operations >= 10 * FEWEST and self.faults >= FEWEST else "too few operations or faults"
        return Invariant(name, self.operations, self.faults, violations, vacuous)
