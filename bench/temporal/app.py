# SPDX-License-Identifier: Apache-2.0
"""The app of the suite: counters, with events as large as those that teams write."""

from typing import Any

import nerv
from nerv.types import Event, utc_now

app = nerv.App("bench")

TYPE = "counter.counted.v1"
DATA = (
    b'{"name":"a counter of things","n":%d,"by":"somebody@example.org","place":"Newark Liberty Intl","note":"on time"}'
)


@app.event(TYPE)
class Counted(nerv.Event):
    """One more."""

    name: str
    n: int
    by: str
    place: str
    note: str


@app.projection("counter", on=[TYPE])
def counter(state: dict[str, Any] | None, event: Counted) -> dict[str, Any]:
    """How often, and what was said last."""
    return {"count": (state or {"count": 0})["count"] + 1, "last": event.n, "note": event.note}


def counted(number: int, event_id: str) -> Event[bytes]:
    """An event as a writer makes it."""
    return Event(event_id, "bench", TYPE, utc_now(), DATA % number)
