# SPDX-License-Identifier: Apache-2.0
"""What a fault run says in the end."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Invariant:
    """One property over so many operations and faults; `vacuous` says why the run proved nothing."""

    name: str
    operations: int
    faults: int
    violations: Sequence[str]
    vacuous: str = ""

    @property
    def holds(self) -> bool:
        """No violation, in a run that could have shown one."""
        return not self.violations and not self.vacuous

    def line(self) -> str:
        """The line for people and machines."""
        verdict = "ok" if self.holds else f"broken ({self.vacuous})" if self.vacuous else "broken"
        return (
            f"FAULT {self.name} ops={self.operations} faults={self.faults} violations={len(self.violations)} {verdict}"
        )
