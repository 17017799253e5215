# SPDX-License-Identifier: Apache-2.0
"""What both sides last agreed on, by key: the base of a three-way comparison, and a tree of digests over it.

It cannot be made again from the sides. Without it a sync deletes nothing, and takes every difference for a conflict.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import orjson

from nerv.errors import VersionConflict
from nerv.protocols.records import Records
from nerv.protocols.side import Action, Entity, Row, Side, Step, Written
from nerv.sync import tree
from nerv.sync.canonical import canonical
from nerv.sync.digests import Digests, Head
from nerv.sync.plan import batches
from nerv.sync.schema import Digester
from nerv.types import Description

DEPTH = 4  # at first: 65,536 leaves
_ROW = b"r/"


@dataclass(frozen=True, slots=True)
class InHistory:
    """Agreed rows are the objects of a side that outlives every process, such as the streams of a category; only the digests
    are in records, and may be lost.
    """

    side: Side
    records: Records


class Agreed(Protocol):
    """The base of one sync."""

    async def head(self) -> Head:
        """What is kept, digested as rows are compared now."""
        ...

    async def deepen(self, head: Head, depth: int) -> Head:
        """The same in a tree of another depth."""
        ...

    async def fetch(self, keys: Sequence[str]) -> dict[str, Row | None]:
        """The agreed rows of these keys; None where both agreed that there is none, or never agreed."""
        ...

    async def agree(self, rows: Mapping[str, Row | None]) -> None:
        """Both sides hold this now. Raises VersionConflict when another process agrees on something at the same time."""
        ...

    def tree(self, head: Head) -> tree.Tree:
        """The tree of a head."""
        ...

    def describe(self) -> Description:
        """What is kept, as data."""
        ...


def opened(place: Records | InHistory, digester: Digester) -> Agreed:
    """What was agreed on, as it is kept in a place."""
    if isinstance(place, InHistory):
        return AgreedSide(place.side, digester, place.records)
    return AgreedRecords(digester, place)


class AgreedRecords:
    """Agreed rows in records. Rows and digests change in one write."""

    def __init__(self, digester: Digester, records: Records) -> None:
        self._digester = digester
        self._records = records
        self._agreed = 0

    async def head(self) -> Head:
        """What is kept (see `Agreed.head`). Digests of another way of comparing are made anew from the rows."""
        head, raw = await self._head()
        if head.schema == self._digester.fingerprint:
            return head
        keys = [key async for found in tree.objects_of(self.tree(head)) for key in found]
        rows = await self.fetch(keys)
        digests = {key: self._digester(row) for key, row in rows.items() if row is not None}
        # The leaf of a key does not depend on its digest: the new records are those of the same names, in one write.
        return await self._rewritten(digests, head, head.depth, raw)

    async def deepen(self, head: Head, depth: int) -> Head:
        """The same in a deeper tree (see `Agreed.deepen`), in one write: what is left of the other one is not looked at."""
        if head.depth == depth:
            return head
        digests = {key: found async for some in tree.objects_of(self.tree(head)) for key, found in some.items()}
        _, raw = await self._head()
        return await self._rewritten(digests, head, depth, raw)

    async def fetch(self, keys: Sequence[str]) -> dict[str, Row | None]:
        """The agreed rows (see `Agreed.fetch`)."""
        found = await self._records.read([_ROW + key.encode() for key in keys])
        return {key: None if data is None else orjson.loads(data) for key, data in zip(keys, found, strict=True)}

    async def agree(self, rows: Mapping[str, Row | None]) -> None:
        """Both sides hold this now (see `Agreed.agree`)."""
        if not rows:
            return
        head = await self.head()
        _, raw = await self._head()
        digests = {key: None if row is None else self._digester(row) for key, row in rows.items()}
        records, after, grown = await tree.updated(self.tree(head), digests)
        records |= {_ROW + key.encode(): None if row is None else canonical(row) for key, row in rows.items()}
        new = replace(head, root=after.root, count=head.count + grown, writes=head.writes + 1)
        await self._records.write(records, head=new.to_bytes(), after=raw)
        self._agreed += len(rows)

    def tree(self, head: Head) -> tree.Tree:
        """The tree of a head."""
        return tree.Tree(self._records, head.depth, head.root)

    def describe(self) -> Description:
        """What is kept, as data."""
        return Description(
            "AgreedRecords", "base", counters={"agreed": self._agreed}, parts=(self._records.describe(),)
        )

    async def _rewritten(self, digests: Mapping[str, bytes], head: Head, depth: int, raw: bytes | None) -> Head:
        records: dict[bytes, bytes | None] = {}
        root = tree.NOTHING
        for some in tree.built(digests, depth):
            records |= some
            root = tree.root_of(some)
        new = Head(self._digester.fingerprint, depth, root, len(digests), None, head.writes + 1, whole=True)
        await self._records.write(records, head=new.to_bytes(), after=raw)
        return new

    async def _head(self) -> tuple[Head, bytes | None]:
        raw = await self._records.head()
        return Head.from_bytes(raw) or Head(self._digester.fingerprint, DEPTH, whole=True), raw


class AgreedSide:
    """Agreed rows as the objects of a side; their digests are kept as those of any side."""

    def __init__(self, side: Side, digester: Digester, records: Records) -> None:
        self._side = side
        self._digests = Digests(side, digester, records)
        self._seen: dict[str, Entity] = {}  # since the digests were looked at: what a write is conditional on
        self._head: Head | None = None
        self._agreed = 0

    async def head(self) -> Head:
        """The digests, brought up to what the side holds."""
        self._seen.clear()
        self._head = await self._digests.refresh()
        return self._head

    async def deepen(self, head: Head, depth: int) -> Head:
        """The same in a tree of another depth."""
        self._head = await self._digests.deepen(head, depth)
        return self._head

    async def fetch(self, keys: Sequence[str]) -> dict[str, Row | None]:
        """The agreed rows (see `Agreed.fetch`). What the digests have not is not asked for: of a first sync that is all."""
        # Without a head nothing was planned here yet, and what is there has to be asked.
        known = keys if self._head is None else await tree.lookup(self.tree(self._head), keys)
        found = {one.key: one for one in await self._side.fetch(list(known))}
        self._seen.update(found)
        return {key: found[key].row if key in found else None for key in keys}

    async def agree(self, rows: Mapping[str, Row | None]) -> None:
        """Both sides hold this now. What another process has agreed on since it was fetched stays: it knows more."""
        if self._head is None:
            # A side may have a feed that only this process tells: the digests must know that it is this one which goes on.
            await self.head()
        guessed = {key: row for key, row in rows.items() if key not in self._seen}
        moved = await self._write(rows)
        if again := {key: row for key, row in guessed.items() if key in moved}:
            # Both had agreed before that there is none: its stream goes on.
            self._seen.update({one.key: one for one in await self._side.fetch(list(again))})
            await self._write(again)

    def tree(self, head: Head) -> tree.Tree:
        """The tree of a head."""
        return self._digests.tree(head)

    def describe(self) -> Description:
        """What is kept, as data."""
        return Description("AgreedSide", "base", counters={"agreed": self._agreed}, parts=(self._digests.describe(),))

    async def _write(self, rows: Mapping[str, Row | None]) -> set[str]:
        """Write what is not so yet; answers the keys that were otherwise than seen."""
        moved: set[str] = set()
        for steps in batches([step for key, row in rows.items() if (step := self._step(key, row)) is not None]):
            for step, outcome in zip(steps, await self._side.write(steps), strict=True):
                self._seen.pop(step.key, None)
                if isinstance(outcome, VersionConflict):
                    moved.add(step.key)
                elif not isinstance(outcome, Written):
                    raise outcome
                self._agreed += isinstance(outcome, Written)
        return moved

    def _step(self, key: str, row: Row | None) -> Step | None:
        """What makes it so; None when it is."""
        held = self._seen.get(key) or Entity(key, None, 0)
        before = None if held.row is None else canonical(held.row)
        after = None if row is None else canonical(row)
        if before == after:
            return None
        action = Action.CREATE if before is None else Action.DELETE if after is None else Action.UPDATE
        return Step("base", action, key, before, after, held.version)
