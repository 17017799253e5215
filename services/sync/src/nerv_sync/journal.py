# SPDX-License-Identifier: Apache-2.0
"""The journal of runs in history: who runs a sync now, what each run came to. It outlives every replica.

`sync-<sync>` holds `started` and `finished` by turns, each appended at the exact version that its writer has seen, so that
one run of a sync is open at a time over all replicas. `sync-<sync>/<run>` holds a run's signs of life and, last, its
document. A replica that dies leaves its run open; another run takes over once that has given no sign of life for a while, by
the clock of the one who waits. That is for order only: should both live, exact versions keep them from harm.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from nerv.errors import IdConflict, NervError, NotFound, Unavailable, VersionConflict
from nerv.protocols import Appended, AppendRequest, Clock, Expected, History, ReadQuery
from nerv.protocols.history import Expect
from nerv.sync.errors import RunUnderWay
from nerv.types import Event, EventType, format_instant
from nerv_sync.model import Document, Order, running_document
from nerv_sync.settings import RunSettings

log = structlog.get_logger(__name__)

CLAIMS = 10  # tries to open a run while others open and close runs of the same sync
POLL_SECONDS = 0.25
SIGN_SECONDS = 2.0  # for one sign of life to be written: the last one is, while the service goes down
LONG = ("changes", "problems", "missed_keys", "asked")  # parts of a document that a list does not show
LISTED = 50  # runs that a list shows
INTERRUPTED: Document = {"status": "interrupted"}  # it died, or was taken over, before it could say what it came to


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to perform a run: it is open in the journal, at `version` of the sync's stream, under this owner."""

    order: Order
    attempt: int
    version: int


def sync_stream(sync: str) -> str:
    """The stream of a sync's runs."""
    return f"sync-{sync}"


def run_stream(sync: str, run: str) -> str:
    """The stream of one run; a sync's name has no slash."""
    return f"sync-{sync}/{run}"


class Journal:
    """Runs as events in history. Every method raises what the history does."""

    def __init__(self, history: History, clock: Clock, settings: RunSettings) -> None:
        self._history = history
        self._clock = clock
        self._settings = settings
        self._owner = uuid.uuid4().hex  # of this process: after a restart nobody is mistaken for his predecessor

    async def document(self, sync: str, run: str) -> Document | None:
        """What a run came to; None when it is not over, or not known."""
        # Asked for by its type: a sign of life that was on its way may have come after it.
        finished = await self._last(run_stream(sync, run), EventType.SYNC_FINISHED)
        if finished is None:
            return None
        document: Document = orjson.loads(finished.data)
        return document

    async def show(self, sync: str, run: str) -> Document:
        """A run as it stands. Raises NotFound."""
        document = await self.document(sync, run)
        if document is not None:
            return document
        query = ReadQuery(types=frozenset({EventType.SYNC_STARTED}), backward=True)
        newest = True
        with contextlib.suppress(NotFound):
            async for event in self._history.read(sync_stream(sync), query):
                started = orjson.loads(event.data)
                if started["run"] == run:
                    unfinished = running_document(Order.of(started)) | ({} if newest else INTERRUPTED)
                    return unfinished | {"progress": await self._progress(sync, run)}
                newest = False
        raise NotFound(f"{sync} has no run {run}; there are: nerv sync history {sync}")

    async def _progress(self, sync: str, run: str) -> Document:
        """What the latest sign of life says."""
        last = await self._last(run_stream(sync, run), EventType.SYNC_APPLIED)
        found: Document = {} if last is None else orjson.loads(last.data)
        return found

    async def runs(self, sync: str, limit: int = LISTED) -> list[Document]:
        """The latest runs of a sync without their changes, the newest first."""
        found: dict[str, Document] = {}
        query = ReadQuery(backward=True, limit=3 * limit)
        newest = True
        with contextlib.suppress(NotFound):
            async for event in self._history.read(sync_stream(sync), query):
                data = orjson.loads(event.data)
                if event.type == EventType.SYNC_FINISHED:
                    found.setdefault(data["run"], data)
                elif len(found) < limit or data["run"] in found:
                    unfinished = running_document(Order.of(data)) | ({} if newest else INTERRUPTED)
                    found.setdefault(data["run"], unfinished)["started"] = format_instant(event.time)
                newest = False
        return list(found.values())[:limit]

    async def claim(self, order: Order, active: Callable[[str], bool]) -> Claim | Document:
        """Open a run, or answer its document when it is over.

        `active` tells whether a run of the sync goes on in this process. Raises RunUnderWay while another one is open and
        alive, IdConflict for a run that was ordered otherwise, Unavailable.
        """
        for _ in range(CLAIMS):
            last = await self._last(sync_stream(order.sync))
            attempt = 1
            if last is not None and last.type == EventType.SYNC_STARTED:
                started = orjson.loads(last.data)
                if started["run"] == order.run:
                    _check_same(order, Order.of(started))
                    attempt = started["attempt"] + 1
                await self._until_free(order, started, active)
            document = await self.document(order.sync, order.run)
            if document is not None:
                return document
            claim = Claim(order, attempt, (last.sequence or 0) + 1 if last else 1)
            if await self._open(claim):
                return claim
        raise Unavailable(f"other runs of {order.sync} are started all the time", retry_after=1.0)

    async def _open(self, claim: Claim) -> bool:
        """Append `started` at the exact version; False when somebody else was faster."""
        order = claim.order
        data = order.to_dict() | {"attempt": claim.attempt, "owner": self._owner}
        event = self._event(EventType.SYNC_STARTED, data, uuid.uuid4().hex)
        request = AppendRequest(sync_stream(order.sync), [event], Expected(Expect.EXACT, claim.version - 1))
        [outcome] = await self._history.append([request])
        if isinstance(outcome, VersionConflict):
            return False
        if not isinstance(outcome, Appended):
            raise outcome
        return True

    async def _until_free(self, order: Order, started: Document, active: Callable[[str], bool]) -> None:
        """Return when the open run is over or its owner is gone. Raises RunUnderWay when another run shows life."""
        run = started["run"]
        if started["owner"] == self._owner:
            # What goes on in this process is known; a run of ours that does not is one that failed before its end.
            if run != order.run and active(run):
                raise _under_way(order, run)
            return
        stream = run_stream(order.sync, run)
        seen: int | None = None
        silent_since = self._clock.monotonic()
        while True:
            last = await self._last(stream)
            if last is not None and (_released(last, started["attempt"]) or await self.document(order.sync, run)):
                return
            version = last.sequence or 0 if last else 0
            if version != seen:
                if seen is not None and run != order.run:
                    raise _under_way(order, run)
                seen, silent_since = version, self._clock.monotonic()
            if self._clock.monotonic() - silent_since > self._settings.silence_seconds:
                log.warning("run.taken-over", sync=order.sync, run=run, by=order.run)
                return
            await asyncio.sleep(POLL_SECONDS)

    @contextlib.asynccontextmanager
    async def alive(self, claim: Claim, progress: Callable[[], Document]) -> AsyncIterator[None]:
        """Give signs of life while the block runs; left by an error, say that the run is free to be taken over."""
        beating = asyncio.create_task(self._beat(claim, progress))
        try:
            yield
        except BaseException:
            # Shielded: a cancellation must not cost the next run the time of a silence.
            await asyncio.shield(self._sign(claim, {**progress(), "released": True}))
            raise
        finally:
            beating.cancel()
            await asyncio.wait({beating})

    async def _beat(self, claim: Claim, progress: Callable[[], Document]) -> None:
        while True:
            await asyncio.sleep(self._settings.heartbeat_seconds)
            await self._sign(claim, progress())

    async def _sign(self, claim: Claim, data: dict[str, Any]) -> None:
        order = claim.order
        event = self._event(EventType.SYNC_APPLIED, {**data, "attempt": claim.attempt}, uuid.uuid4().hex)
        try:
            async with asyncio.timeout(SIGN_SECONDS):
                await self._history.append([AppendRequest(run_stream(order.sync, order.run), [event])])
        except (NervError, TimeoutError) as error:
            # Nothing hangs on a single sign; a run that cannot write any more fails by itself.
            log.warning("run.sign-failed", sync=order.sync, run=order.run, error=str(error))

    async def finish(self, claim: Claim, document: Document) -> Document:
        """Close a run; answers what is recorded of it, which is another's document if that one was faster."""
        order, finished = claim.order, EventType.SYNC_FINISHED
        brief = {name: value for name, value in document.items() if name not in LONG}
        event_id = f"finished-{order.run}"
        whole = AppendRequest(run_stream(order.sync, order.run), [self._event(finished, document, event_id)])
        entry = AppendRequest(
            sync_stream(order.sync),
            [self._event(finished, brief, f"{event_id}-{claim.attempt}")],
            Expected(Expect.EXACT, claim.version),
        )
        # One after the other: whoever sees that the sync is free must find the document.
        [recorded] = await self._history.append([whole])
        if not isinstance(recorded, Appended | IdConflict):
            raise recorded
        [listed] = await self._history.append([entry])
        if not isinstance(listed, Appended):
            # The next run looks at the run's own stream too, so a missing entry blocks nobody.
            log.warning("run.not-listed", sync=order.sync, run=order.run, error=str(listed))
        if isinstance(recorded, IdConflict):
            return await self.document(order.sync, order.run) or document
        return document

    async def _last(self, stream: str, *types: EventType) -> Event[bytes] | None:
        with contextlib.suppress(NotFound):
            async for event in self._history.read(stream, ReadQuery(backward=True, limit=1, types=frozenset(types))):
                return event
        return None

    def _event(self, kind: EventType, data: Document, event_id: str) -> Event[bytes]:
        return Event(event_id, "nerv:sync", kind, self._clock.now(), orjson.dumps(data))


def _check_same(order: Order, before: Order) -> None:
    if order != before:
        raise IdConflict(f"run {order.run} was ordered with other options; use another Idempotency-Key")


def _released(event: Event[bytes], attempt: int) -> bool:
    data = orjson.loads(event.data)
    return bool(data.get("released")) and data["attempt"] == attempt


def _under_way(order: Order, run: str) -> RunUnderWay:
    return RunUnderWay(
        f"run {run} of {order.sync} is under way; wait for it (nerv sync history {order.sync} {run})",
        errors=[{"sync": order.sync, "run": run}],
    )
