# SPDX-License-Identifier: Apache-2.0
"""The runs of this replica: each a task that outlives the request which ordered it."""

import asyncio
from collections.abc import Iterable
from itertools import product
from types import TracebackType
from typing import Self

import structlog

from nerv.errors import IdConflict, NervError, Overloaded, Refused, Unavailable, from_problem
from nerv.sync.tally import Tally
from nerv.telemetry import counter, span
from nerv.telemetry import names as n
from nerv_sync.journal import Claim, Journal
from nerv_sync.model import Document, Order, refused_document, running_document
from nerv_sync.performing import Performers
from nerv_sync.settings import RunSettings

log = structlog.get_logger(__name__)

_ended = counter(n.SYNC_RUNS)

STATUSES = ("done", "planned", "conflicts", "failed", "refused", "unknown")


def count_from_zero(syncs: Iterable[str]) -> None:
    """Show the counters of these before they have counted anything: an increase from nothing is none to Prometheus."""
    for sync, status in product(syncs, STATUSES):
        _ended.add(0, {n.SYNC: sync, n.STATUS: status})


class Runs:
    """Takes orders, at most so many at once. A repeated order joins its run, or gets the answer again.

    `closing` is set when the service begins to stop: runs are then given up where they are, free for others.
    """

    def __init__(self, performers: Performers, journal: Journal, settings: RunSettings, closing: asyncio.Event) -> None:
        self._performers = performers
        self._journal = journal
        self._settings = settings
        self._active: dict[tuple[str, str], tuple[Order, asyncio.Task[Document]]] = {}
        self._closing = closing

    async def __aenter__(self) -> Self:
        self._giving_up = asyncio.create_task(self._give_up())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        await self._giving_up

    async def _give_up(self) -> None:
        await self._closing.wait()
        tasks = {task for _, task in self._active.values()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def order(self, order: Order) -> Document:
        """Perform a run and answer its document; one with status `running` when it takes longer than a request may.

        Raises what the run was refused for, RunUnderWay, IdConflict, Overloaded, Unavailable.
        """
        task = self._task(order)
        done, _ = await asyncio.wait({task}, timeout=self._settings.answer_seconds)
        if not done:
            return running_document(order)
        if task.cancelled():
            raise Unavailable("this replica is going down; repeat with the same Idempotency-Key", retry_after=1.0)
        return task.result()

    async def within(self, order: Order) -> Document:
        """Perform a run as a part of another one, in whose place it goes on, and wait for its end (see `order`)."""
        task = self._task(order, inside=True)
        await asyncio.wait({task})
        if task.cancelled():
            raise Unavailable("this replica is going down", retry_after=1.0)
        return task.result()

    def _task(self, order: Order, *, inside: bool = False) -> asyncio.Task[Document]:
        place = (order.sync, order.run)
        if place in self._active:
            known, task = self._active[place]
            if known != order:
                raise IdConflict(f"run {order.run} was ordered with other options; use another Idempotency-Key")
            return task
        if self._closing.is_set():
            raise Unavailable("this replica is going down", retry_after=1.0)
        if not inside and len(self._active) >= self._settings.runs:
            raise Overloaded(f"{len(self._active)} runs are under way here (NERV_SYNC__RUNS)", retry_after=2.0)
        task = asyncio.create_task(self._perform(order))
        self._active[place] = (order, task)
        task.add_done_callback(lambda ended: self._over(order, ended))
        return task

    def _over(self, order: Order, task: asyncio.Task[Document]) -> None:
        self._active.pop((order.sync, order.run), None)
        if task.cancelled():
            log.info("run.stopped", sync=order.sync, run=order.run)
        elif (error := task.exception()) is not None:
            _ended.add(1, {n.SYNC: order.sync, n.STATUS: "failed"})
            known = isinstance(error, NervError)
            log.warning(
                "run.failed", sync=order.sync, run=order.run, exc_info=None if known else error, error=str(error)
            )

    async def _perform(self, order: Order) -> Document:
        with span(n.SYNC_RUN, begin=True, attributes={n.SYNC: order.sync, n.RUN: order.run}):
            document = await self._journal.document(order.sync, order.run)
            if document is None:
                claimed = await self._journal.claim(order, lambda run: (order.sync, run) in self._active)
                document = await self._claimed(claimed) if isinstance(claimed, Claim) else claimed
            return _answer(order, document)

    async def _claimed(self, claim: Claim) -> Document:
        tally = Tally()
        async with self._journal.alive(claim, tally.progress):
            try:
                document = await self._performers.perform(claim, tally, self.within)
            except Refused as refusal:
                document = refused_document(claim.order, refusal)
            recorded = await self._journal.finish(claim, document | {"attempt": claim.attempt})
        _ended.add(1, {n.SYNC: claim.order.sync, n.STATUS: str(recorded["status"])})
        log.info("run.finished", sync=claim.order.sync, run=claim.order.run, status=recorded["status"])
        return recorded


def _answer(order: Order, document: Document) -> Document:
    """The document of a run that is over, as the answer to this order: a refusal is raised again."""
    if Order.of(document) != order:
        raise IdConflict(f"run {order.run} was ordered with other options; use another Idempotency-Key")
    if document["status"] == "refused":
        problem = document["problem"]
        raise from_problem(problem, problem["status"])
    return document
