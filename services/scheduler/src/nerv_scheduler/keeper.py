# SPDX-License-Identifier: Apache-2.0
"""Renew the leases of what this replica works on, from a thread of its own: a task that blocks the loop keeps its lease."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import structlog

from nerv.errors import NervError
from nerv.protocols.queue import Claim, TaskQueue

log = structlog.get_logger(__name__)

JOIN_SECONDS = 0.3
RENEWALS = 3  # within one lease, so that two may be late

T = TypeVar("T")
OpenQueue = Callable[[], AbstractAsyncContextManager[TaskQueue]]
Tell = Callable[[Claim], None]


class Keeper:
    """Holds claims. `open_queue` gives a queue with connections of its own, for the thread's loop. `crashed` is set when it fails
    for good.
    """

    def __init__(self, open_queue: OpenQueue, worker: str, lease: float) -> None:
        self._open_queue = open_queue
        self._worker = worker
        self._pause = lease / RENEWALS
        self._held: dict[tuple[str, str], tuple[Claim, Tell, Tell]] = {}
        self._lock = threading.Lock()
        self.crashed: asyncio.Future[None] | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def hold(self, claims: Iterable[Claim], lost: Callable[[Claim], None], over: Callable[[Claim], None]) -> None:
        """Renew these until `let_go`. `lost` is told, on the caller's loop, of one that another replica has, and `over` of one
        whose run is being cancelled.
        """
        loop = asyncio.get_running_loop()
        tell_lost, tell_over = partial(_call, loop, lost), partial(_call, loop, over)
        with self._lock:
            self._held.update({claim.token: (claim, tell_lost, tell_over) for claim in claims})

    def let_go(self, claims: Iterable[Claim]) -> None:
        """Renew these no longer."""
        with self._lock:
            for claim in claims:
                self._held.pop(claim.token, None)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=lambda: self._run(loop), name="nerv-leases", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            # It is a daemon: one that hangs in a renewal does not hold up the end.
            await asyncio.to_thread(self._thread.join, JOIN_SECONDS)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        """A thread that ends before it is told to would let every lease run out, and nobody would know."""
        try:
            asyncio.run(self._renewing())
        except Exception as error:
            log.exception("leases.crashed")
            _call(loop, self._crash, error)

    def _crash(self, error: Exception) -> None:
        if self.crashed is not None and not self.crashed.done():
            self.crashed.set_exception(error)

    async def _renewing(self) -> None:
        async with self._open_queue() as queue:
            while not await asyncio.to_thread(self._stop.wait, self._pause):
                with self._lock:
                    claims = [claim for claim, *_ in self._held.values()]
                try:
                    lost = await queue.renew(self._worker, claims)
                except NervError as error:
                    # A lease that runs out meanwhile is found by its token; the work goes on until then.
                    log.warning("leases.not_renewed", error=str(error), claims=len(claims))
                    continue
                for claim in lost:
                    self._tell_over(claim) if claim.over else self._tell_lost(claim)

    def _tell_over(self, claim: Claim) -> None:
        with self._lock:
            found = self._held.get(claim.token)
        if found is not None:
            found[2](found[0])

    def _tell_lost(self, claim: Claim) -> None:
        with self._lock:
            found = self._held.pop(claim.token, None)
        if found is not None:
            log.warning("claim.lost", run=claim.run, node=claim.node, attempt=claim.attempt)
            found[1](found[0])


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[T], None], told: T) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(function, told)
