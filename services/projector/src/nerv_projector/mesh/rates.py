# SPDX-License-Identifier: Apache-2.0
"""Counts what comes in the partitions that this replica owns, and puts it on the board, once a second."""

import asyncio
import time
from dataclasses import replace
from types import TracebackType
from typing import Self

import structlog

from nerv.app import App
from nerv.errors import NervError, Retry
from nerv.kafka.admin import Admin
from nerv.kafka.survey import Survey
from nerv.protocols.views import Epoch
from nerv_projector.faust_app import FaustHost
from nerv_projector.lanes import Lane
from nerv_projector.mesh.board import Board, Row
from nerv_projector.mesh.counting import KEPT_SECONDS, CountHop, Tables
from nerv_projector.settings import ProjectorSettings

log = structlog.get_logger(__name__)

EPOCH = Epoch("rates", {})  # a lane asks for one; counting has none
SAY_SECONDS = 1.0


class Rates:
    """Follows the partitions that are owned. Use as `async with`. What goes wrong holds up nothing else, and is tried again."""

    def __init__(self, lane: Lane, tables: Tables, board: Board, owner: str) -> None:
        self._lane, self._tables, self._board, self._owner = lane, tables, board, owner
        self._owned: frozenset[int] = frozenset()
        self._working: frozenset[int] | None = None  # what the lane runs on; None when it must be started anew
        self._since: dict[int, float] = {}
        self.fault: str | None = None
        self._lock = asyncio.Lock()
        lane.failed = self._failed

    def own(self, partitions: frozenset[int]) -> None:
        """Count these, soon."""
        self._owned = partitions

    async def let_go(self, partitions: frozenset[int]) -> None:
        """Count these only; when this returns, the others are not counted any more."""
        self._owned = partitions
        async with self._lock:
            self._since = {p: since for p, since in self._since.items() if p in partitions}
            if self._working is not None and self._working - partitions:
                await self._stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with self._lock:
            await self._stop()

    async def check(self) -> None:
        """Count what is owned, and say what was counted."""
        try:
            async with self._lock:
                if self._working != self._owned:
                    await self._start(self._owned)
                await self._say()
        except NervError as error:
            self._failed(error)
        else:
            self.fault = None

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, NervError) or error.retry is Retry.NEVER:
            log.error("rates.failed", exc_info=error)
        elif self.fault is None:  # said once
            log.warning("rates", cause=error.detail)
        self.fault = str(error)
        self._working = None

    async def _stop(self) -> None:
        self._working = None
        await self._lane.stop()

    async def _start(self, owned: frozenset[int]) -> None:
        await self._stop()
        await self._lane.start(EPOCH, owned)
        now = await self._board.now()
        self._since = {p: self._since.get(p, now) for p in owned}
        moves = await self._board.took(self._owner, sorted(owned))
        self._working = owned
        if moves:
            log.info("partitions.moved", moved=len(moves), of=len(owned), owner=self._owner)

    async def _say(self) -> None:
        counts, at = self._tables.counts(time.time()), await self._board.now()
        row = Row(self._owner, 0.0, at, counts.first)
        await self._board.say(
            {
                p: replace(
                    row, since=self._since[p], types=dict(counts.types.get(p, {})), keys=dict(counts.keys.get(p, {}))
                )
                for p in self._working or ()
            }
        )


def rates_of(settings: ProjectorSettings, app: App, host: FaustHost, board: Board) -> Rates:
    """Counting, as a replica of this app does it."""
    client_id = f"projector-{settings.instance}-rates"
    tables = Tables(host.windows("types", KEPT_SECONDS), host.windows("keys", KEPT_SECONDS))
    admin, survey = Admin(settings.kafka, client_id), Survey(settings.kafka, client_id)
    wanted = {settings.history, *(spec.topic for spec in app.events.values() if spec.topic is not None)}

    def topics() -> dict[str, int]:
        return {name: count for name, count in admin.topics().items() if name in wanted}

    hop = CountHop(tables, survey, topics, settings.partitions, settings.group)
    lane = Lane(hop, settings.kafka, client_id, settings.projector.batch, host.agent("rates"))
    return Rates(lane, tables, board, settings.instance)
