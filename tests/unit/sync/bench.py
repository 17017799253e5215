# SPDX-License-Identifier: Apache-2.0
"""Replicas of sync over a history in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import nerv
from nerv.client import Client
from nerv.clock import SystemClock
from nerv.history.memory import MemoryHistory
from nerv.protocols import History
from nerv.protocols.records import Records
from nerv.sync.records import MemoryRecords
from nerv_sync.journal import Journal
from nerv_sync.opened import Synchronizers
from nerv_sync.pairs import Pairs
from nerv_sync.performing import Performers
from nerv_sync.runs import Runs
from nerv_sync.settings import RunSettings
from nerv_sync.shelf import Shelf
from nerv_sync.threads import SourceThreads, Threads

SETTINGS = RunSettings(heartbeat_seconds=0.05, silence_seconds=0.6, answer_seconds=30)


class MemoryMesh(Client):
    """A mesh whose history is in this process."""

    def __init__(self, history: History) -> None:
        super().__init__({"*": "http://127.0.0.1:9"})
        self.streams: Any = history


class Stage:
    """One history, one app, the records that replicas share, and as many replicas as a test wants."""

    def __init__(self) -> None:
        self.history = MemoryHistory()
        self.app = nerv.App("fleet")
        self.records: dict[str, MemoryRecords] = {}
        self.threads = Threads(1)

    def journal(self, settings: RunSettings = SETTINGS) -> Journal:
        """The journal of a replica of its own."""
        return Journal(self.history, SystemClock(), settings)

    def synchronizers(self, history: History | None = None, settings: RunSettings = SETTINGS) -> Synchronizers:
        """Those of a replica of its own; the records are shared."""
        return Synchronizers(self.pairs(settings), MemoryMesh(history or self.history), self.shared, "mesh", 0.2)

    def pairs(self, settings: RunSettings = SETTINGS) -> Pairs:
        """What the app declares."""
        return Pairs(self.app, 100_000, SourceThreads(self.threads, settings.load_seconds))

    def shared(self, key: str) -> Records:
        """The records of a key."""
        return self.records.setdefault(key, MemoryRecords())

    def shelf(self) -> Shelf:
        """Where plans are kept."""
        return Shelf(self.history, SystemClock())

    @asynccontextmanager
    async def replica(self, history: History | None = None, settings: RunSettings = SETTINGS) -> AsyncIterator[Runs]:
        """A replica; `history` is what its sides read and write, not its journal."""
        clock = SystemClock()
        async with self.synchronizers(history, settings) as synchronizers:
            performers = Performers(self.app, synchronizers, self.history, self.shelf(), self.threads, clock)
            async with Runs(performers, self.journal(settings), settings, asyncio.Event()) as runs:
                yield runs
