# SPDX-License-Identifier: Apache-2.0
"""Run a decider: load, decide, append with the exact version, and decide anew when somebody else was faster.

After Jérémie Chassaing's functional event sourcing decider (2021).
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nerv.app import App
from nerv.clock import SystemClock
from nerv.deciders.refusal import Refusal
from nerv.errors import IdConflict, Misconfigured, NervError, NotFound, Rejected, Retry, TooLarge, VersionConflict
from nerv.history.fold import fold_stream
from nerv.model import EventModel
from nerv.protocols import Appended, AppendRequest, Clock, Expected, History
from nerv.protocols.history import Expect
from nerv.types import Description, Event, check_id, new_event_id

DECIDE_SECONDS = 10.0  # for all attempts together
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.5  # seconds between two attempts, with jitter
ID_ROOM = 200  # characters of a command's id, so that the ids of its events keep within 256


@dataclass(frozen=True, slots=True)
class Decided:
    """What came of a command. `events` may be none: then nothing was to be done, and `version` is the stream's.

    `duplicate`: the command had been decided before, and these are the events of then.
    """

    events: tuple[EventModel, ...]
    version: int
    duplicate: bool = False


class Decider:
    """One decider of an app over a history: in memory, in SQLite, or `client.streams` of the mesh.

    A command is decided once: under the same id it gets the events of the first time, however often it is sent.
    """

    def __init__(self, app: App, name: str, history: History, *, clock: Clock | None = None) -> None:
        if name not in app.deciders:
            raise NotFound(f"app {app.name} has no decider {name!r}; it has {', '.join(app.deciders) or 'none'}")
        self._app, self._history = app, history
        self._spec = app.deciders[name]
        self._projection = app.projections[self._spec.projection]
        self._clock = clock or SystemClock()
        self._decided = self._rejected = self._conflicts = 0

    async def decide(
        self,
        entity: str,
        command: Any,
        *,
        id: str | None = None,  # noqa: A002 - CloudEvents' word
        seconds: float = DECIDE_SECONDS,
    ) -> Decided:
        """Decide a command about one entity, and record what it leads to; `id` is the command's.

        Raises Rejected when the rules say no; VersionConflict, Unavailable or UnknownOutcome when time ran out, as the
        last attempt met it. Only after UnknownOutcome something may have happened: send the command again under the same id.
        """
        stream = check_id(f"{self._spec.name}-{entity}", "stream")
        command_id = _checked(id or new_event_id())
        deadline, pause = time.monotonic() + seconds, FIRST_PAUSE
        while True:
            try:
                return await self._attempt(stream, command, command_id)
            except (VersionConflict, IdConflict) as error:
                # An id that is there with other content: the command was decided before, and we had not read it yet.
                self._conflicts += 1
                failure: NervError = error
            except NervError as error:
                if error.retry is Retry.NEVER:
                    raise
                failure = error
            wait = max(failure.retry_after or 0.0, random.uniform(0, pause))  # noqa: S311 - jitter, not a secret
            if time.monotonic() + wait > deadline:
                raise failure
            await asyncio.sleep(wait)
            pause = min(pause * 2, LONGEST_PAUSE)

    def describe(self) -> Description:
        """The decider as data."""
        counters = {"decided": self._decided, "rejected": self._rejected, "conflicts": self._conflicts}
        return Description("Decider", self._spec.name, (self._spec.projection,), counters=counters)

    async def _attempt(self, stream: str, command: Any, command_id: str) -> Decided:
        events = await self._load(stream)
        version = len(events)
        earlier = [event for event in events if event.causation_id == command_id]
        if earlier:
            return Decided(tuple(map(self._app.decode, earlier)), earlier[-1].sequence or 0, duplicate=True)
        made = decide(self._app, self._spec.name, events, command)
        if isinstance(made, Refusal):
            self._rejected += 1
            raise Rejected(made.detail, errors=[{"code": made.code, **made.facts}])
        if not made:
            return Decided((), version)
        expected = Expected(Expect.EXACT, version)
        [outcome] = await self._history.append([AppendRequest(stream, self._envelopes(made, command_id), expected)])
        if not isinstance(outcome, Appended):
            raise outcome
        self._decided += 1
        return Decided(made, outcome.last_version, duplicate=outcome.duplicate)

    async def _load(self, stream: str) -> list[Event[bytes]]:
        try:
            return [event async for event in self._history.read(stream)]
        except NotFound:
            return []

    def _envelopes(self, made: Sequence[EventModel], command_id: str) -> list[Event[bytes]]:
        now = self._clock.now()
        return [
            Event(
                f"{command_id}/{number}",
                f"nerv:{self._app.name}/{self._spec.name}",
                self._app.type_of(model),
                now,
                model.model_dump_json().encode(),
                correlation_id=command_id,
                causation_id=command_id,
            )
            for number, model in enumerate(made)
        ]


def _checked(command_id: str) -> str:
    if len(check_id(command_id, "command id")) > ID_ROOM:
        raise TooLarge(f"command id has {len(command_id)} characters; the limit is {ID_ROOM}")
    return command_id


def decide(app: App, name: str, events: Sequence[Event[bytes]], command: Any) -> tuple[EventModel, ...] | Refusal:
    """The pure part: what decider `name` answers to a command, after these events.

    Raises Misconfigured for an answer that is none.
    """
    spec = app.deciders[name]
    state = fold_stream(app, app.projections[spec.projection], events)
    answer = spec.function(state, command)
    if answer is None:
        return ()
    if isinstance(answer, Refusal):
        return answer
    made = tuple(answer) if isinstance(answer, Sequence) else (answer,)
    for event in made:
        if not isinstance(event, EventModel):
            raise Misconfigured(
                f"decider {name} answered {type(event).__name__}; answer an event, a list of them, nerv.refuse(...) or None"
            )
        app.type_of(event)
    return made
