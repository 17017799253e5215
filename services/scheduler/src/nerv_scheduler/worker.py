# SPDX-License-Identifier: Apache-2.0
"""The worker of a replica: takes nodes as it has room, works on them, and gives back what it cannot finish."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

import structlog
from opentelemetry.trace import SpanKind

from nerv.errors import NervError
from nerv.protocols.queue import END, Claim, Orphan, Queue, Taken
from nerv.telemetry import histogram, span_of_all, traced
from nerv.telemetry import names as n
from nerv_scheduler.attempt import Attempts
from nerv_scheduler.fusing import Strand
from nerv_scheduler.interruptions import LostError
from nerv_scheduler.keeper import Keeper
from nerv_scheduler.model import describe_error
from nerv_scheduler.pressure import Pool
from nerv_scheduler.quantum import Quanta
from nerv_scheduler.record import stream_of
from nerv_scheduler.runs import Recovery
from nerv_scheduler.settings import WorkSettings

log = structlog.get_logger(__name__)

_durations = histogram(n.WORK_DURATION)

# How long one look waits for work: it bounds how late a due retry is noticed, and a stop.
POLL_SECONDS = 0.25
# Who had work a moment ago looks more often: no stream tells of what another replica has too much of.
SOON_SECONDS, RECENTLY_SECONDS = 0.05, 2.0
PAUSE_SECONDS = 0.5
WORTH_SECONDS = 0.02  # of a backlog: moving less costs more than it brings
# The chassis ends the process 9.5 s after the signal: requests may take 3 s of that, the drain 5 s.
CANCEL_SECONDS = 0.3
RELEASE_SECONDS = 0.7
IN_HAND = 2  # times its places: so much may a replica have in hand, with what is called no longer and not recorded yet


class Worker:
    """Works from entering to leaving. `crashed` is set when the loop itself fails."""

    def __init__(
        self,
        attempts: Attempts,
        queue: Queue,
        keeper: Keeper,
        recovery: Recovery,
        settings: WorkSettings,
    ) -> None:
        self.crashed: asyncio.Future[None] | None = None
        self._attempts = attempts
        self._queue = queue
        self._keeper = keeper
        self._recovery = recovery
        self._settings = settings
        self._name = attempts.worker
        self._fusing = attempts.fusing
        self._quanta = Quanta(attempts)
        self._running: dict[asyncio.Task[None], Sequence[Claim]] = {}
        self._calling: set[asyncio.Task[None]] = set()  # those of them that take a place: their tasks have not returned
        self._waiting: deque[Sequence[Strand]] = deque()  # claimed, and not begun
        self._begun = time.monotonic()  # when something began last
        self._room = asyncio.Event()
        self._stopping = False
        self._fault: str | None = "has not looked for work yet"
        self._loop: asyncio.Task[None] | None = None

    def fault(self) -> str | None:
        """Why no work is taken; None when it is."""
        return self._fault

    @property
    def room(self) -> int:
        """How many nodes may be taken now. A task that has returned takes no place while that is recorded; a thread that has
        outlived its time-out takes its place until it ends.
        """
        size, calling = self._settings.concurrency, len(self._calling)
        stuck = max(0, self._attempts.threads.running - calling)
        return min(size - calling - stuck, IN_HAND * size - len(self._running))

    def pools(self) -> dict[str, Pool]:
        """The places of this replica: for nodes, and for those of them that are in threads or in processes."""
        attempts, size = self._attempts, self._settings.concurrency
        return {
            "slots": Pool(len(self._calling), size),
            "threads": Pool(attempts.threads.running, size),
            "processes": Pool(attempts.processes.busy, attempts.processes.most),
        }

    async def __aenter__(self) -> Self:
        self._loop = asyncio.create_task(self._work())
        self._loop.add_done_callback(self._ended)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._room.set()
        if self._loop is not None:
            await asyncio.wait({self._loop})
        if self._running:
            await asyncio.wait(set(self._running), timeout=self._settings.drain_seconds)
        await self._give_back()

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and self.crashed is not None and not self.crashed.done():
            self.crashed.set_exception(error)

    async def _work(self) -> None:
        # What an earlier process of this name had left: nobody else may take it from there.
        await self._attempts.patience(lambda: self._queue.shelve(self._name, (), 0.0))
        while not self._stopping:
            try:
                if self.room <= 0 or self._waiting:
                    await self._wait_for_room()
                else:
                    await self._take()
            except NervError as error:
                self._fault = f"cannot look for work: {error}"
                log.warning("work.not_taken", error=str(error))
                await asyncio.sleep(PAUSE_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret

    async def _wait_for_room(self) -> None:
        # A thread that outlived its time-out wakes nobody when it ends, hence the limit.
        self._room.clear()
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._room.wait()
        except TimeoutError:
            if any(self._waiting):
                await self._queue.begin(self._name, (), self._seconds(self._waiting))
                self._fault = None

    async def _take(self) -> None:
        wanted, chain = self._fusing.wanted(self.room), self._fusing.chain()
        worth = WORTH_SECONDS if self._settings.stealing else None
        seconds = SOON_SECONDS if time.monotonic() - self._begun < RECENTLY_SECONDS else POLL_SECONDS
        taken = await self._queue.take(self._name, wanted, seconds, chain=chain, unless=worth)
        if taken.elsewhere and taken.intact:
            stolen = await self._steal(chain)
            taken = replace(taken, claims=stolen.claims, orphans=stolen.orphans)
        # Their leases are renewed from now on, whether they have begun or not.
        self._keeper.hold(taken.claims, self._lost, self._attempts.interruptions.stop)
        room = max(0, self.room)  # what a quantum handed back meanwhile has begun
        groups = self._fusing.group(taken.claims, room)
        for strands in groups[:room]:
            self._begin(strands)
        await self._shelve(groups[room:])
        await self._adopt(taken.orphans)
        if not taken.intact:
            self._fault = "the queue is empty or was lost; asking history for unfinished runs"
            await self._recovery.restore_all()
        self._fault = None

    async def _adopt(self, orphans: Sequence[Orphan]) -> None:
        """Restore first, then forget the entries: dying in between leaves them to others."""
        for run, at_ms in {orphan.run: orphan.at_ms for orphan in orphans}.items():
            await self._recovery.restore(run, at_ms=at_ms)
        for orphan in orphans:
            await self._queue.drop(orphan)

    async def _steal(self, chain: int) -> Taken:
        taken = await self._queue.steal(self._name, WORTH_SECONDS, chain=chain)
        if taken.claims:
            self._attempts.counts["steals"] += 1
            self._attempts.counts["stolen"] += len(taken.claims)
            log.info("work.stolen", nodes=len(taken.claims))
        return taken

    async def _shelve(self, groups: Sequence[Sequence[Strand]], by: asyncio.Task[None] | None = None) -> None:
        """Keep what has no room yet, and tell the others of it. `by` had it in hand until now."""
        if not groups:
            return
        claims = [strand.claim for strands in groups for strand in strands]
        seconds = self._seconds([*self._waiting, *groups])
        await self._attempts.patience(lambda: self._queue.shelve(self._name, claims, seconds))
        self._waiting += groups
        if by is not None:
            moved = {claim.token for claim in claims}
            self._running[by] = [claim for claim in self._running[by] if claim.token not in moved]
        self._fill()

    async def _unshelve(self, strands: Sequence[Strand]) -> None:
        """Do what was in the backlog and is the worker's still."""
        claims = [strand.claim for strand in strands]
        seconds = self._seconds(self._waiting)
        mine = await self._attempts.patience(lambda: self._queue.begin(self._name, claims, seconds))
        await self._do([strand for strand, found in zip(strands, mine, strict=True) if found])

    def _seconds(self, groups: Iterable[Sequence[Strand]]) -> float:
        """How long a backlog will take; at least as long as nothing of it could begin."""
        return max(self._fusing.seconds(groups, self._settings.concurrency), time.monotonic() - self._begun)

    def _lost(self, claim: Claim) -> None:
        """Another replica has it: a task that does nothing else is stopped; of a quantum the queue refuses what is stale."""
        for strands in list(self._waiting):
            if any(strand.claim == claim for strand in strands):
                self._waiting[self._waiting.index(strands)] = [one for one in strands if one.claim != claim]
        for task, claims in self._running.items():
            if list(claims) == [claim]:
                task.cancel()

    def _fill(self) -> None:
        """Begin what waits, as far as there is room."""
        while self._waiting and self.room > 0 and not self._stopping:
            self._begin(self._waiting.popleft(), shelved=True)

    def _begin(self, strands: Sequence[Strand], *, shelved: bool = False) -> None:
        claims = [strand.claim for strand in strands]
        task = asyncio.create_task(self._unshelve(strands) if shelved else self._do(strands))
        self._running[task] = claims
        self._calling.add(task)
        self._begun = time.monotonic()
        task.add_done_callback(self._finished)

    def _returned(self) -> None:
        """What the current task was called for has returned: others may have its place while it is recorded."""
        task = asyncio.current_task()
        if task in self._calling:
            self._calling.remove(task)
            self._fill()
            self._room.set()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._calling.discard(task)
        left = {strand.claim.token for strands in self._waiting for strand in strands}
        self._keeper.let_go([claim for claim in self._running.pop(task) if claim.token not in left])
        self._fill()
        self._room.set()

    async def _do(self, strands: Sequence[Strand]) -> None:
        if not strands:
            return
        single, began = len(strands) == 1 and not strands[0].chain, time.perf_counter()
        await (self._perform(strands[0]) if single else self._fuse(strands))
        kind = "attempt" if single else "quantum"
        _durations.record(time.perf_counter() - began, {n.WORKFLOW: strands[0].task.workflow, n.WORK_KIND: kind})

    async def _fuse(self, strands: Sequence[Strand]) -> None:
        """Do a quantum; what it had no time for is the next."""
        run = strands[0].claim.run
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it is one of `_running`
        try:
            await self._quanta.perform(strands, lambda left: self._hand_back(task, left), self._returned)
        except LostError as lost:
            log.info("claim.lost", run=run, nodes=len(strands), detail=str(lost))
        except Exception as error:
            log.exception("quantum.broken", run=run, nodes=len(strands))
            for claim in list(self._running[task]):
                await self._put_off(claim, describe_error(error))

    async def _hand_back(self, task: asyncio.Task[None], left: Sequence[Strand]) -> None:
        """They took longer than was thought: what is left of a quantum is divided anew, and is its task's no longer."""
        # As if all places were free: they will be before long.
        groups = self._fusing.group([strand.claim for strand in left], self._settings.concurrency)
        await self._shelve(groups, task)

    async def _perform(self, strand: Strand) -> None:
        claim, task = strand.claim, strand.task
        attributes: dict[str, str | int] = {
            n.WORKFLOW: task.workflow,
            n.RUN: claim.run,
            n.TASK: task.task or claim.node,
            n.ATTEMPT: claim.attempt,
            n.SYSTEM: n.REDIS,
            n.STREAM: stream_of(claim.run),
        }
        name = n.process(task.task or task.workflow)
        try:
            with span_of_all(name, SpanKind.CONSUMER, traced([task]), attributes):
                if claim.node == END:
                    self._returned()  # nothing is called
                    await self._attempts.end(claim)
                else:
                    await self._attempts.work(claim, task, self._returned)
        except LostError as lost:
            log.info("claim.lost", run=claim.run, node=claim.node, attempt=claim.attempt, detail=str(lost))
        except Exception as error:
            log.exception("attempt.broken", run=claim.run, node=claim.node, attempt=claim.attempt)
            await self._put_off(claim, describe_error(error))

    async def _put_off(self, claim: Claim, error: str) -> None:
        try:
            await self._attempts.put_off(claim, error)
        except LostError:
            return

    async def _give_back(self) -> None:
        """Stop what did not finish in time, and let others have it at once."""
        tasks = set(self._running)
        left = [claim for claims in self._running.values() for claim in claims]
        left += [strand.claim for strands in self._waiting for strand in strands]
        self._waiting.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_SECONDS)
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await asyncio.gather(*(self._queue.release(claim) for claim in left))
                await self._queue.shelve(self._name, (), 0.0)
        except (NervError, TimeoutError) as error:
            # Their leases run out, and others take them then.
            log.warning("work.not_given_back", error=str(error), nodes=len(left))
        if left:
            log.info("work.given_back", nodes=len(left))
