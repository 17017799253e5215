# SPDX-License-Identifier: Apache-2.0
"""QuantumUnit: the smallest piece of work that is handed out."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class QuantumUnit(Protocol):
    """A piece of work that knows what it needs. Run at most once, unless it is told otherwise when its process died.

    Three more attributes are used where a unit has them: `kind: str` (units of a kind last about as long; default: the
    class), `timeout: float | None` (seconds) and `expected: float | None` (seconds, until the first of its kind is measured).
    Implemented by `nerv.partition.Unit` (a function) and `nerv.partition.Each` (a function for each item).
    """

    @property
    def name(self) -> str:
        """Unique in a run: 1 to 256 printable characters."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The names of the units whose results it works on."""

    def run(self, inputs: Mapping[str, Any]) -> Any:
        """The result, or a coroutine that gives it. `inputs` holds the results of `needs` by name, and nothing else."""

    def split(self, parts: int) -> "Sequence[QuantumUnit] | None":
        """About so many units that together do this one's work on the same inputs; None when it cannot be split."""

    def merge(self, results: Sequence[Any]) -> Any:
        """The result of the whole from those of its parts, in the order of `split`."""
