# SPDX-License-Identifier: Apache-2.0
"""The digests that are kept beside a side: made by one whole load, then kept up from its change feed.

They only say which objects to look at. What is read then decides, so that a digest that is wrong hides a difference until the
next full verification, and never writes anything.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeVar

import orjson

from nerv.errors import VersionConflict
from nerv.protocols.records import Records
from nerv.protocols.side import Entity, Position, Side
from nerv.sync import tree
from nerv.sync.errors import LoadRefused
from nerv.sync.loads import whole
from nerv.sync.schema import Digester
from nerv.types import Description, Health

T = TypeVar("T")

FETCHED = 1000  # objects that are read at a time
TRIES = 4  # while another process is at the same digests
ROOM = 8  # times the objects that a tree was built for, before it is built deeper


@dataclass(frozen=True, slots=True)
class Head:
    """What the digests are: of how many objects, compared how, up to which position of the feed."""

    schema: str
    depth: int = 1
    root: bytes = tree.NOTHING
    count: int = 0
    position: Position | None = None
    writes: int = 0  # so that no two heads are the same bytes
    whole: bool = False  # False while they are being made

    def to_bytes(self) -> bytes:
        """As it is kept."""
        feed = None if self.position is None else [self.position.epoch, self.position.sequence]
        return orjson.dumps([self.schema, self.depth, self.root.hex(), self.count, feed, self.writes, self.whole])

    @classmethod
    def from_bytes(cls, data: bytes | None) -> "Head | None":
        """What was kept; None where nothing was, or nothing that this version reads."""
        try:
            schema, depth, root, count, feed, writes, complete = orjson.loads(data or b"")
            position = None if feed is None else Position(*feed)
            return cls(schema, depth, bytes.fromhex(root), count, position, writes, complete)
        except (ValueError, TypeError):
            return None


class Digests:
    """The digests of one side in one place."""

    def __init__(self, side: Side, digester: Digester, records: Records) -> None:
        self._side = side
        self._digester = digester
        self._records = records
        self._loads = self._fed = self._voided = self._missed = 0

    @property
    def fed(self) -> int:
        """How many objects were digested because the feed told of them."""
        return self._fed

    async def refresh(self) -> Head:
        """Bring them up to what the side holds: from its feed, or where that cannot tell, by a whole load.

        Raises LoadRefused, Unavailable, and VersionConflict when other processes change them all the time.
        """
        return await retried(self._refresh)

    async def rebuild(self) -> Head:
        """Make them anew, from a whole load."""
        return await retried(self._rebuild)

    async def verify(self) -> list[str]:
        """Load the side whole, make the digests anew, and answer the keys whose kept digest was wrong: what no feed told."""
        before = await retried(self._refresh)
        if before.position is None:  # without a feed that was a whole load already
            return []
        kept: dict[str, bytes] = {}
        async for found in tree.objects_of(self.tree(before)):
            kept |= found
        actual = await retried(self._rebuild)
        told = await self._side.changes(before.position)
        excused = set(told.keys) if told is not None else set()
        wrong = []
        async for found in tree.objects_of(self.tree(actual)):
            wrong += [key for key, is_now in found.items() if kept.pop(key, None) != is_now]
        missed = sorted({*wrong, *kept} - excused)
        self._missed += len(missed)
        return missed

    async def deepen(self, head: Head, depth: int) -> Head:
        """The same digests in a tree of another depth."""
        if head.depth == depth:
            return head
        found: dict[str, bytes] = {}
        async for objects in tree.objects_of(self.tree(head)):
            found |= objects
        return await self._written(found, depth, head.position, head)

    def tree(self, head: Head) -> tree.Tree:
        """The tree of a head."""
        return tree.Tree(self._records, head.depth, head.root)

    def describe(self) -> Description:
        """The digests as data."""
        counters = {"loads": self._loads, "fed": self._fed, "voided": self._voided, "missed": self._missed}
        health = Health.DEGRADED if self._missed else Health.OK  # a feed that did not tell will not tell again
        parts = (self._records.describe(),)
        return Description(
            "Digests", self._side.name, (self._side.name,), counters=counters, health=health, parts=parts
        )

    async def _refresh(self) -> Head:
        head = Head.from_bytes(await self._records.head())
        if head is None or not head.whole or head.schema != self._digester.fingerprint or head.position is None:
            return await self._rebuild()
        told = await self._side.changes(head.position)
        if told is None:
            self._voided += 1
            return await self._rebuild()
        pending = iter(dict.fromkeys(told.keys))
        while chunk := list(islice(pending, FETCHED)):
            found = self._digested(await self._side.fetch(chunk))
            head = await self._update(head, found)
        if head.position != told.position:
            head = await self._put(head, {}, position=told.position)
        if head.count > tree.FANOUT**head.depth * tree.LEAF_OBJECTS * ROOM:
            head = await self.deepen(head, tree.depth_for(head.count))
        return head

    async def _update(self, head: Head, found: Mapping[str, bytes | None]) -> Head:
        self._fed += len(found)
        records, after, grown = await tree.updated(self.tree(head), found)
        return await self._put(head, records, root=after.root, count=head.count + grown)

    async def _put(self, head: Head, records: Mapping[bytes, bytes | None], **fields: Any) -> Head:
        new = replace(head, writes=head.writes + 1, **fields)
        await self._records.write(records, head=new.to_bytes(), after=head.to_bytes())
        return new

    async def _rebuild(self) -> Head:
        # The position is taken first: what changes while the side is read is told again, and does no harm.
        start = await self._side.changes(None)
        digester = self._digester
        objects: dict[str, bytes] = {}
        count = 0
        async for batch in whole(self._side):
            count += len(batch)
            rows = [one.row for one in batch if one.row is not None]
            objects.update(zip([one.key for one in batch], digester.many(rows), strict=True))
            if len(objects) != count:
                raise LoadRefused(f"{self._side.name} gave a key twice, or one without a row; keys must be unique")
        self._loads += 1
        known = Head.from_bytes(await self._records.head())
        depth = tree.depth_for(count)
        return await self._written(objects, depth, None if start is None else start.position, known)

    async def _written(
        self, objects: Mapping[str, bytes], depth: int, position: Position | None, known: Head | None
    ) -> Head:
        """Put a whole tree in place of what was there; while that goes on there is none. Another one who does it loses."""
        raw = await self._records.head()
        writes = 0 if known is None else known.writes
        head = Head(self._digester.fingerprint, depth, writes=writes + 1)
        await self._records.write({}, head=head.to_bytes(), after=raw)
        await self._records.drop(tree.PREFIX, after=head.to_bytes())
        root = tree.NOTHING
        for records in tree.built(objects, depth):
            head = await self._put(head, records)
            root = tree.root_of(records)
        return await self._put(head, {}, root=root, count=len(objects), position=position, whole=True)

    def _digested(self, entities: Sequence[Entity]) -> dict[str, bytes | None]:
        digester = self._digester
        return {one.key: None if one.row is None else digester(one.row) for one in entities}


async def retried(work: Callable[[], Awaitable[T]]) -> T:
    """Do it again while another process changes the same records, a few times. Raises VersionConflict."""
    for _ in range(TRIES - 1):
        with suppress(VersionConflict):
            return await work()
    return await work()
