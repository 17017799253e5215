# SPDX-License-Identifier: Apache-2.0
"""What makes a category's streams equal to a source, as data."""

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What becomes of an entity."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Change:
    """One entity that differs. `before` and `after` are whole rows as canonical JSON; None where there is none."""

    action: Action
    key: str
    before: bytes | None
    after: bytes | None
