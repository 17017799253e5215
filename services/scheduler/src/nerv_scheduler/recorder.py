# SPDX-License-Identifier: Apache-2.0
"""Histories of runs: read, and append what happened. What was recorded first stands."""

import asyncio

from nerv.errors import IdConflict, Internal, NervError, NotFound
from nerv.limits import Limits, check_event_size
from nerv.protocols import Appended, AppendOutcome, AppendRequest, Expected, History
from nerv.protocols.history import Expect
from nerv.types import Event
from nerv_scheduler.batched import Batched
from nerv_scheduler.model import fold
from nerv_scheduler.record import RunRecord, stream_of

MESSAGES = 2  # at once: what comes while one is on its way need not wait for its answer, and still there are few


class Recorder:
    """The streams of runs."""

    def __init__(self, history: History, limits: Limits) -> None:
        self._history = history
        self._limits = limits
        self._batched = Batched[AppendRequest, AppendOutcome](history.append, _weight, MESSAGES)

    def check(self, event: Event[bytes]) -> None:
        """Raises TooLarge for an event that history would refuse."""
        check_event_size(len(event.data), self._limits)

    async def read(self, run: str) -> RunRecord:
        """What history says of a run. Raises NotFound, Unavailable, Internal for what no scheduler can have written."""
        try:
            return fold(run, [event async for event in self._history.read(stream_of(run))])
        except NotFound:
            raise NotFound(f"there is no run {run}") from None
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise Internal(f"the stream of run {run} holds what is no event of a run: {error!r}") from error

    async def submit(self, run: str, event: Event[bytes], seconds: float) -> bool:
        """Record the start of a run. False: it has been started before. Raises TooLarge, Unavailable, TimeoutError (unknown)."""
        self.check(event)
        async with asyncio.timeout(seconds):
            [outcome] = await self._history.append([AppendRequest(stream_of(run), [event], Expected(Expect.NONE))])
        if isinstance(outcome, IdConflict):
            return False
        if isinstance(outcome, NervError):
            raise outcome
        return not outcome.duplicate

    async def record(self, run: str, event: Event[bytes]) -> bool:
        """Record an event of a run. False: another one with its id was recorded before.

        Raises TooLarge, Unavailable, UnknownOutcome.
        """
        self.check(event)
        outcome = await self._batched(AppendRequest(stream_of(run), [event], Expected(Expect.EXISTS)))
        if isinstance(outcome, Appended):
            return True
        if isinstance(outcome, IdConflict):
            return False
        raise outcome


def _weight(request: AppendRequest) -> int:
    return sum(len(event.data) for event in request.events)
