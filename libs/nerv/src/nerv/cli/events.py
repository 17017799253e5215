# SPDX-License-Identifier: Apache-2.0
"""How events look in a terminal: as rows of a table, as lines that come, and with who and why. Pure."""

from typing import Any

import orjson
from rich.text import Text

from nerv.types import Event

NARROW = "%Y-%m-%d %H:%M:%S"


def event_row(event: Event[bytes], *, named: bool) -> dict[str, Any]:
    """What happened; `named` with the stream, where there are many."""
    return _which(event, named) | {
        "happened": event.time.strftime(NARROW),
        "type": event.type,
        "data": data_of(event),
    }


def version_row(event: Event[bytes], *, named: bool) -> dict[str, Any]:
    """Who wrote a version, when it happened and was recorded, and why: what it belongs to, what it follows from."""
    recorded = "-" if event.recorded_time is None else event.recorded_time.strftime(NARROW)
    why = [("in", event.correlation_id), ("after", event.causation_id)]
    return _which(event, named) | {
        "type": event.type,
        "happened, recorded": f"{event.time.strftime(NARROW)}\n{recorded}",
        "who": event.source,
        "why": "\n".join(f"{word} {value}" for word, value in why if value) or None,
    }


def _which(event: Event[bytes], named: bool) -> dict[str, Any]:
    return {"stream": f"{event.subject}@{event.sequence}"} if named else {"version": event.sequence}


def line(event: Event[bytes]) -> Text:
    """An event as a line: when it happened, where, what."""
    return Text.assemble(
        (event.time.strftime(NARROW), "dim"),
        f"  {event.subject}@{event.sequence}  ",
        (event.type, "bold"),
        f"  {orjson.dumps(data_of(event)).decode()}",
    )


def data_of(event: Event[bytes]) -> Any:
    """The data, or how many bytes they are where they are not JSON."""
    try:
        return orjson.loads(event.data) if event.data else None
    except orjson.JSONDecodeError:
        return f"{len(event.data)} bytes"
