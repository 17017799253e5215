# SPDX-License-Identifier: Apache-2.0
"""What a task gives back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nerv.effects import MeshEffect


@dataclass(frozen=True, slots=True)
class Result:
    """A task's value, which must be JSON, and what the mesh shall do because of it.

    Effects are performed after the result is recorded, in order, under ids made of the run and the node: however often
    the task is attempted, each has the same id, and one that the target has seen is not done again.
    """

    value: Any = None
    effects: Sequence[MeshEffect] = ()


class PermanentError(Exception):
    """Raised by a task that would fail in the same way again: it is not retried, and its run fails."""
