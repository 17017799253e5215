# SPDX-License-Identifier: Apache-2.0
"""How every component describes itself: plain data, for people and for programs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Health(StrEnum):
    """Whether a component does what it is for."""

    OK = "ok"
    DEGRADED = "degraded"  # it works, with losses or delays that somebody should look at
    DOWN = "down"
    UNKNOWN = "unknown"  # nothing has asked it yet


@dataclass(frozen=True, slots=True)
class Description:
    """One component at one moment. `inputs` and `outputs` name what it takes and gives (event types, other components);
    `counters` are numbers by name, of what it has done since it was made and of what it holds; `parts` are the components
    inside it.
    """

    kind: str
    name: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    counters: Mapping[str, int] = field(default_factory=dict)
    health: Health = Health.OK
    parts: tuple["Description", ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, parts included."""
        return asdict(self)
