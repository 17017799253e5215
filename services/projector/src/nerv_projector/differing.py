# SPDX-License-Identifier: Apache-2.0
"""What changed in a whole view between two instants: entities that came and went, and of the others what differs."""

from collections.abc import Mapping
from typing import Any

import orjson

from nerv.protocols.views import View
from nerv.state import written_between
from nerv_projector.model import NOTHING

_NONE = View(0, NOTHING)


def differences(before: Mapping[str, View], after: Mapping[str, View]) -> list[dict[str, Any]]:
    """A row for each key that differs, in order: `change` is came, went or changed; `changes` the wire form of a Delta."""
    rows = []
    for key in sorted(before.keys() | after.keys(), key=str.encode):
        old, new = before.get(key, _NONE), after.get(key, _NONE)
        if old.state == new.state:
            continue
        change = "came" if old.state == NOTHING else "went" if new.state == NOTHING else "changed"
        changes = orjson.loads(written_between(old.state, new.state))
        rows.append(
            {
                "key": key,
                "change": change,
                "from_version": old.version,
                "to_version": new.version,
                "changes": changes,
            }
        )
    return rows
