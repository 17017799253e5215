# SPDX-License-Identifier: Apache-2.0
"""What both sides last agreed on, by key: the base of a three-way comparison, and a tree of digests over it.

It cannot be made again from the sides. Without it a sync deletes nothing, and takes every difference for a conflict.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import orjson

from nerv.protocols.records import Records
from nerv.protocols.side import Row
from nerv.sync import tree
from nerv.sync.canonical import canonical
from nerv.sync.digests import Head
from nerv.sync.schema import Digester
from nerv.types import Description

DEPTH = 4  # fixed, so that it is never rebuilt: 65,536 leaves
_ROW = b"r/"


class Agreed:
    """Agreed rows in records. Rows and digests change in one write."""

    def __init__(self, digester: Digester, records: Records) -> None:
        self._digester = digester
        self._records = records
        self._agreed = 0

    async def head(self) -> Head:
        """What is kept. Digests of another way of comparing are made anew from the rows."""
        head, raw = await self._head()
        if head.schema == self._digester.fingerprint:
            return head
        keys = [key async for found in tree.objects_of(self.tree(head)) for key in found]
        rows = await self.fetch(keys)
        digests = {key: self._digester(row) for key, row in rows.items() if row is not None}
        # The leaf of a key does not depend on its digest: the new records are those of the same names, in one write.
        records: dict[bytes, bytes | None] = {}
        root = tree.NOTHING
        for some in tree.built(digests, DEPTH):
            records |= some
            root = tree.root_of(some)
        new = Head(self._digester.fingerprint, DEPTH, root, len(digests), None, head.writes + 1, whole=True)
        await self._records.write(records, head=new.to_bytes(), after=raw)
        return new

    async def fetch(self, keys: Sequence[str]) -> dict[str, Row | None]:
        """The agreed rows of these keys; None where both agreed that there is none, or never agreed."""
        found = await self._records.read([_ROW + key.encode() for key in keys])
        return {key: None if data is None else orjson.loads(data) for key, data in zip(keys, found, strict=True)}

    async def agree(self, rows: Mapping[str, Row | None]) -> None:
        """Both sides hold this now. Raises VersionConflict when another process agrees on something at the same time."""
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
        return Description("Agreed", "base", counters={"agreed": self._agreed}, parts=(self._records.describe(),))

    async def _head(self) -> tuple[Head, bytes | None]:
        raw = await self._records.head()
        return Head.from_bytes(raw) or Head(self._digester.fingerprint, DEPTH, whole=True), raw
