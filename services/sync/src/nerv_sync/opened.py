# SPDX-License-Identifier: Apache-2.0
"""The synchronizers of this replica, each made when it is first needed, with what is kept beside its sides."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from nerv.client import Client
from nerv.protocols.records import Records
from nerv.protocols.side import Side
from nerv.sync.agreed import InHistory
from nerv.sync.conflicts import ConflictJournal
from nerv.sync.pair import Pair
from nerv.sync.records import MemoryRecords
from nerv.sync.scope import Scope
from nerv.sync.sides import HistorySide
from nerv.sync.synchronizer import DiffSynchronizer
from nerv.types import Description
from nerv_sync.pairs import Pairs, SourcePair


@dataclass(frozen=True, slots=True)
class Opened:
    """A pair whose sides are open, and the synchronizer between them; without a journal for a source, which only leads."""

    name: str
    pair: Pair
    sides: Mapping[str, Side]
    synchronizer: DiffSynchronizer
    journal: ConflictJournal | None
    guard: float
    below: Mapping[str, Pair]  # whose objects hang under these

    @property
    def kind(self) -> str:
        """What its objects are."""
        return self.pair.schema().name

    @property
    def names(self) -> dict[str, str]:
        """What its sides are called."""
        return {side: found.name for side, found in self.sides.items()}


class Synchronizers:
    """Pairs by name, opened once. Sources that keep what they have read are made anew for each run."""

    def __init__(self, pairs: Pairs, client: Client, shared: Callable[[str], Records], mesh: str, guard: float) -> None:
        """`shared` gives the records of a name, which all replicas share."""
        self._pairs = pairs
        self._client = client
        self._shared = shared
        self._mesh = mesh
        self._guard = guard
        self._opened: dict[str, Opened] = {}
        self._opening = asyncio.Lock()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def open(self, name: str) -> Opened:
        """The pair of this name. Raises NotFound, and what its sides do when they are opened."""
        pair = self._pairs.make(name)
        if isinstance(pair, SourcePair) and pair.keeps_rows:
            left, right = pair.left(self._client), pair.right(self._client)
            synchronizer = DiffSynchronizer(name, left, right, pair.schema(), delete_guard=self._guard)
            return Opened(
                name, pair, {"left": left, "right": right}, synchronizer, None, self._guard, self._pairs.below(name)
            )
        async with self._opening:
            if name not in self._opened:
                self._opened[name] = await self._open(name, pair)
        return self._opened[name]

    def describe(self) -> Description:
        """What is open, as data."""
        parts = tuple(opened.synchronizer.describe() for opened in self._opened.values())
        return Description("Synchronizers", self._mesh, tuple(self._pairs.names()), parts=parts)

    async def _open(self, name: str, pair: Pair) -> Opened:
        left = await self._entered(pair.left(self._client))
        right = await self._entered(pair.right(self._client))
        digests = await self._records(name, "left", left), await self._records(name, "right", right)
        guard = self._guard if pair.delete_guard is None else pair.delete_guard
        # A source only leads: nothing that it overrules was anybody else's.
        journal = None if isinstance(pair, SourcePair) else ConflictJournal(self._client.streams, name)
        synchronizer = DiffSynchronizer(
            name,
            left,
            right,
            pair.schema(),
            digests=digests,
            agreed=None if journal is None else self._base(name),
            journal=journal,
            strategy=pair.strategy,
            delete_guard=guard,
            parent=pair.parent if pair.has_parents() else None,
            scope=Scope(pair.scope),
        )
        sides = {"left": left, "right": right}
        return Opened(name, pair, sides, synchronizer, journal, guard, self._pairs.below(name))

    def _base(self, name: str) -> InHistory:
        """A category of history, which tells by itself what was appended to it, by whatever replica."""
        side = HistorySide(self._client.streams, f"agreed.{name}", writer=f"nerv:sync:{name}")
        return InHistory(side, self._shared(self._key(name, "base")))

    async def _entered(self, side: Side) -> Side:
        if isinstance(side, AbstractAsyncContextManager):
            await self._stack.enter_async_context(side)
        return side

    async def _records(self, name: str, side: str, found: Side) -> Records:
        """Where the digests of a side are kept; those of one without a feed serve one plan, which this process makes."""
        if await found.changes(None) is None:
            return MemoryRecords()
        return self._shared(self._key(name, side))

    def _key(self, name: str, side: str) -> str:
        return f"{self._mesh}:sync:{{{name}/{side}}}"
