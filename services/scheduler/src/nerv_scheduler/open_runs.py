# SPDX-License-Identifier: Apache-2.0
"""Which runs have not ended, followed by the first and last events of runs.

What is known is written down now and then in a stream of its own, so that a replica that starts reads the open runs and what
has happened since, and not every run there ever was. It is written after as many marks as there are open runs: its cost is a
share of theirs.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
import structlog

from nerv.errors import NervError, NotFound
from nerv.protocols import AppendRequest, Clock, History, ReadQuery
from nerv.types import Event, EventType, entity_of, format_instant, parse_instant
from nerv_scheduler.model import to_ms
from nerv_scheduler.record import RUN_CATEGORY

log = structlog.get_logger(__name__)

STREAM = "scheduler-open"
# What was recorded so long before the latest that was seen is not looked at again: replicas' clocks differ by less.
OVERLAP = timedelta(seconds=60)
ENDS = (EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_CANCELLED)
MARKS = frozenset({EventType.RUN_SUBMITTED, EventType.RUN_RESTARTED, *ENDS})
LEAST = 1000  # marks before it is written down again
PART = 500  # runs in one event: an id has at most 200 characters, and a workflow as many
LISTED = 1000  # runs that are listed again after a loss, the latest


@dataclass(frozen=True, slots=True)
class Opened:
    """A run that has not ended."""

    workflow: str
    started_ms: int


class OpenRuns:
    """Follows them."""

    def __init__(self, history: History, clock: Clock, source: str) -> None:
        self._history = history
        self._clock = clock
        self._source = source
        self._open: dict[str, Opened] = {}
        self._seen: datetime | None = None
        self._marks = 0

    async def follow(self) -> Mapping[str, Opened]:
        """The open runs. It reads what was recorded since it was last called. Raises Unavailable."""
        if self._seen is None:
            await self._load()
        since = None if self._seen is None else self._seen - OVERLAP
        async for event in self._history.read_category(RUN_CATEGORY, ReadQuery(types=MARKS, recorded_from=since)):
            self._note(event)
        if self._marks >= max(LEAST, len(self._open)):
            await self._save()
        return self._open

    async def latest(self) -> dict[str, dict[str, int]]:
        """When the runs that were started last began (milliseconds), by workflow; with all that are open. Raises Unavailable."""
        found: dict[str, dict[str, int]] = {}
        for run, opened in self._open.items():
            if opened.workflow:
                found.setdefault(opened.workflow, {})[run] = opened.started_ms
        query = ReadQuery(types=frozenset({EventType.RUN_SUBMITTED}), backward=True, limit=LISTED)
        async for event in self._history.read_category(RUN_CATEGORY, query):
            found.setdefault(_workflow(event), {})[entity_of(event.stream)] = to_ms(event.time)
        return found

    def _note(self, event: Event[bytes]) -> None:
        run = entity_of(event.stream)
        if event.type in ENDS:
            self._open.pop(run, None)
        elif event.type == EventType.RUN_SUBMITTED:
            self._open[run] = Opened(_workflow(event), to_ms(event.time))
        else:
            # Of a run that had ended; or it was refused, which reading the run tells.
            self._open.setdefault(run, Opened("", 0))
        self._marks += 1
        if event.recorded_time is not None:
            self._seen = max(self._seen or event.recorded_time, event.recorded_time)

    async def _load(self) -> None:
        """Begin with what was written down last, whole."""
        parts: dict[str, list[Mapping[str, Any]]] = {}
        try:
            async for event in self._history.read(STREAM, ReadQuery(backward=True)):
                part = orjson.loads(event.data)
                known = parts.setdefault(part["list"], [])
                known.append(part)
                if len(known) == part["parts"]:
                    self._open = {run: Opened(workflow, ms) for one in known for run, workflow, ms in one["open"]}
                    self._seen = parse_instant(part["until"])
                    return
        except NotFound:
            return

    async def _save(self) -> None:
        """Write down what is open. Failed, it is tried again at the next look: a list that is not whole is passed over."""
        try:
            for event in self._events():
                [outcome] = await self._history.append([AppendRequest(STREAM, [event])])
                if isinstance(outcome, NervError):
                    raise outcome
        except NervError as error:
            log.warning("open_runs.not_written", error=str(error), runs=len(self._open))
        else:
            self._marks = 0

    def _events(self) -> Iterator[Event[bytes]]:
        assert self._seen is not None  # noqa: S101 - there were marks
        rows = [[run, opened.workflow, opened.started_ms] for run, opened in self._open.items()]
        parts: Sequence[Sequence[Any]] = list(_chunks(rows)) or [()]
        name, now = uuid.uuid4().hex, self._clock.now()
        about = {"list": name, "parts": len(parts), "until": format_instant(self._seen)}
        for number, part in enumerate(parts):
            data = orjson.dumps(about | {"open": part})
            yield Event(f"{name}-{number}", self._source, EventType.RUNS_OPEN, now, data)


def _chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (rows[at : at + PART] for at in range(0, len(rows), PART))


def _workflow(event: Event[bytes]) -> str:
    return str(orjson.loads(event.data)["workflow"])
