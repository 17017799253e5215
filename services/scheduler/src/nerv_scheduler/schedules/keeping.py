# SPDX-License-Identifier: Apache-2.0
"""The histories of schedules: read the state, and append the next one if nobody was quicker."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import orjson

from nerv.app import App, ScheduleSpec
from nerv.errors import NervError, NotFound, VersionConflict
from nerv.protocols import AppendRequest, Clock, Expected, History, ReadQuery
from nerv.protocols.history import Expect
from nerv.types import Event, EventType
from nerv_scheduler.schedules.state import ScheduleState, declared, paused, stream_of

REPEATS = 10  # of an order that others were quicker than


class Schedules:
    """The schedules of an app."""

    def __init__(self, app: App, history: History, clock: Clock, source: str) -> None:
        self.specs: Mapping[str, ScheduleSpec] = app.schedules
        self._history = history
        self._clock = clock
        self._source = source

    def spec(self, name: str) -> ScheduleSpec:
        """A schedule as it is declared. Raises NotFound."""
        if name not in self.specs:
            raise NotFound(f"there is no schedule {name!r}; there are {', '.join(sorted(self.specs)) or 'none'}")
        return self.specs[name]

    async def read(self, name: str) -> ScheduleState | None:
        """Where a schedule stands; None for one that has never been seen. Raises Unavailable."""
        try:
            async for event in self._history.read(stream_of(name), ReadQuery(backward=True, limit=1)):
                return ScheduleState.decode(orjson.loads(event.data)["state"], event.sequence or 0)
        except NotFound:
            return None
        return None

    async def current(self, spec: ScheduleSpec) -> ScheduleState:
        """Where a schedule stands, which is recorded where it is new or was changed. Raises Unavailable, VersionConflict."""
        state = await self.read(spec.name)
        changed = declared(spec, state, self._clock.now())
        if changed is None and state is not None:
            return state
        assert changed is not None  # noqa: S101 - `declared` gives one for what is new
        return await self.append(spec.name, EventType.SCHEDULE_DECLARED, changed, self._clock.now())

    async def append(self, name: str, kind: EventType, state: ScheduleState, at: datetime) -> ScheduleState:
        """Record the next state. Raises VersionConflict when another replica was quicker, Unavailable, UnknownOutcome."""
        document = {"schedule": name, "at": at.isoformat(), "state": state.encode()}
        data = orjson.dumps(document)
        digest = hashlib.blake2b(data + str(state.version).encode(), digest_size=16).hexdigest()
        event = Event(digest, self._source, kind.value, self._clock.now(), data)
        expected = Expected(Expect.EXACT, state.version)
        [outcome] = await self._history.append([AppendRequest(stream_of(name), [event], expected)])
        if isinstance(outcome, NervError):
            raise outcome
        return replace(state, version=outcome.last_version)

    async def pause(self, name: str, *, pause: bool) -> ScheduleState:
        """Pause a schedule, or have it go on. Raises NotFound, Unavailable, VersionConflict when others are always quicker."""
        spec = self.spec(name)
        kind = EventType.SCHEDULE_PAUSED if pause else EventType.SCHEDULE_RESUMED
        for _ in range(REPEATS):
            try:
                state = await self.current(spec)
                if state.paused is pause:
                    return state
                now = self._clock.now()
                return await self.append(name, kind, paused(state, now, pause=pause), now)
            except VersionConflict as error:
                conflict = error
        raise conflict
