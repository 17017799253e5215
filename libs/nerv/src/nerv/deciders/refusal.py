# SPDX-License-Identifier: Apache-2.0
"""A decider's no, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a decider answers when its rules do not allow a command. `code` is for programs, `detail` for people."""

    code: str
    detail: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def refuse(code: str, detail: str, **facts: Any) -> Refusal:
    """A refusal; `facts` go along for programs and must be JSON-able."""
    return Refusal(code, detail, facts)
