# SPDX-License-Identifier: Apache-2.0
"""Where an event has been: its origin and the places that bridges have taken it from, so that no bridge makes a loop."""

from dataclasses import replace
from typing import Any

from nerv.types import Event

BETWEEN = ">"
HOPS = 8  # bridges that an event may cross
LONGEST = 256  # characters, as every attribute of an event may have


def places(event: Event[Any]) -> list[str]:
    """The places that the event has left, its origin first; as many as it has made hops."""
    return event.via.split(BETWEEN) if event.via else []


def carried(event: Event[Any], source: str, target: str) -> Event[Any] | None:
    """The event as it leaves `source` for `target`, or None: it has been there, or has come as far as an event may."""
    been = places(event)
    if not been or been[-1] != source:
        been.append(source)
    via = BETWEEN.join(been)
    if target in been or len(been) > HOPS or len(via) > LONGEST:
        return None
    return replace(event, via=via)
