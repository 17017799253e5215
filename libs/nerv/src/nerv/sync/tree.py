# SPDX-License-Identifier: Apache-2.0
"""A bucket tree of digests: a Merkle tree with a fixed fan-out whose leaves hold the digests of objects by key.

An object's leaf is told by the first bits of the CRC-32 of its key, so that two trees of one depth over the same objects are
the same bytes, in whatever order they grew. A page holds the digests of sixteen children; equal pages are not looked into.
To change k objects or to compare trees that differ in k takes time in k, not in the number of objects.

A tree lives in records: pages `t/p/<level>/<index>`, leaves `t/l/<index>` (indices in hexadecimal); what is empty is not there.
Every page and leaf is checked against the digest that stands above it.
"""

import hashlib
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import orjson

from nerv.errors import VersionConflict
from nerv.protocols.records import Records

FANOUT = 16
DIGEST_BYTES = 16
NOTHING = bytes(DIGEST_BYTES)  # the digest of an empty leaf or page
EMPTY_PAGE = bytes(DIGEST_BYTES * FANOUT)
LEAF_OBJECTS = 32  # at most, on average, when a tree is built: small enough to rewrite, large enough to be few
DEEPEST = 6
PREFIX = b"t/"
CHUNK = 512  # leaves that are read or written at a time

Objects = Mapping[str, bytes]
"""Digests by key."""


def digest(data: bytes | bytearray) -> bytes:
    """16 bytes that stand for `data` (BLAKE2b, RFC 7693)."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def depth_for(count: int) -> int:
    """How many levels of pages a tree of so many objects has: 16 leaves to the power of it."""
    depth = 1
    while depth < DEEPEST and FANOUT**depth * LEAF_OBJECTS < count:
        depth += 1
    return depth


def leaf_of(key: str, depth: int) -> int:
    """The leaf of a key."""
    return zlib.crc32(key.encode()) >> (32 - 4 * depth)


class Differing(NamedTuple):
    """A key whose digests differ, with its leaf and the digests of both; None where a tree does not have it."""

    key: str
    leaf: int
    left: bytes | None
    right: bytes | None


class Tree(NamedTuple):
    """A tree as it stands: where it is kept, its depth, and the digest of its topmost page."""

    records: Records
    depth: int
    root: bytes


def built(objects: Objects, depth: int) -> Iterator[dict[bytes, bytes]]:
    """The records of a whole tree, some at a time. The last one holds the topmost page (nothing for no objects)."""
    shift = 32 - 4 * depth
    leaves: dict[int, list[str]] = defaultdict(list)
    crc32 = zlib.crc32
    for key in sorted(objects):  # mostly they are: a side gives them so
        leaves[crc32(key.encode()) >> shift].append(key)
    children: dict[int, bytes] = {}
    pending = iter(leaves.items())
    while chunk := list(islice(pending, CHUNK)):
        records = {}
        for index, keys in chunk:
            data = _leaf(keys, objects)
            records[_leaf_name(index)] = data
            children[index] = digest(data)
        yield records
    for level in range(depth - 1, -1, -1):
        pages: dict[int, bytearray] = {}
        for index, found in children.items():
            page = pages.setdefault(index // FANOUT, bytearray(EMPTY_PAGE))
            _set(page, index % FANOUT, found)
        yield {_page_name(level, index): bytes(page) for index, page in pages.items()}
        children = {index: digest(page) for index, page in pages.items()}


def root_of(records: Mapping[bytes, bytes]) -> bytes:
    """The digest of the topmost page among the last records of `built`."""
    top = records.get(_page_name(0, 0))
    return NOTHING if top is None else digest(top)


async def updated(tree: Tree, changes: Mapping[str, bytes | None]) -> tuple[dict[bytes, bytes | None], Tree, int]:
    """What has to be written so that the tree has these digests (None: not the key), the tree then, and by how many objects
    it has grown. Raises VersionConflict when the tree is not whole.
    """
    by_leaf: dict[int, list[str]] = {}
    for key in changes:
        by_leaf.setdefault(leaf_of(key, tree.depth), []).append(key)
    pages = await _pages_above(tree, list(by_leaf))
    wanted = {index: _child(pages[tree.depth - 1, index // FANOUT], index % FANOUT) for index in by_leaf}
    writes: dict[bytes, bytes | None] = {}
    children: dict[int, bytes] = {}
    grown = 0
    for index, bucket in zip(wanted, await _leaves(tree.records, wanted), strict=True):
        grown -= len(bucket)
        for key in by_leaf[index]:
            new = changes[key]
            if new is None:
                bucket.pop(key, None)
            else:
                bucket[key] = new
        grown += len(bucket)
        data = _leaf(sorted(bucket), bucket) if bucket else None
        children[index] = NOTHING if data is None else digest(data)
        writes[_leaf_name(index)] = data
    for level in range(tree.depth - 1, -1, -1):
        touched: dict[int, bytearray] = {}
        for index, found in children.items():
            above = index // FANOUT
            if above not in touched:
                touched[above] = bytearray(pages[level, above])
            _set(touched[above], index % FANOUT, found)
        children = {}
        for index, page in touched.items():
            data = bytes(page) if page != EMPTY_PAGE else None
            writes[_page_name(level, index)] = data
            children[index] = NOTHING if data is None else digest(data)
    return writes, tree._replace(root=children.get(0, tree.root)), grown


async def lookup(tree: Tree, keys: Sequence[str]) -> dict[str, bytes]:
    """The digests of those of these keys that the tree has. Raises VersionConflict when the tree is not whole."""
    leaves = list(dict.fromkeys(leaf_of(key, tree.depth) for key in keys))
    pages = await _pages_above(tree, leaves)
    wanted = {index: _child(pages[tree.depth - 1, index // FANOUT], index % FANOUT) for index in leaves}
    found: dict[str, bytes] = {}
    for bucket in await _leaves(tree.records, wanted):
        found |= bucket
    return {key: found[key] for key in keys if key in found}


async def differences(left: Tree, right: Tree) -> AsyncIterator[list[Differing]]:
    """The keys whose digests differ, some at a time. Both trees have the same depth.

    Raises VersionConflict when one of them is not whole, as when another writer is at it.
    """
    frontier = {0: (left.root, right.root)} if left.root != right.root else {}
    for level in range(left.depth):
        pages = [
            await _pages(tree.records, level, {index: pair[side] for index, pair in frontier.items()})
            for side, tree in enumerate((left, right))
        ]
        below: dict[int, tuple[bytes, bytes]] = {}
        for index, one, other in zip(frontier, *pages, strict=True):
            for child in range(FANOUT):
                pair = _child(one, child), _child(other, child)
                if pair[0] != pair[1]:
                    below[index * FANOUT + child] = pair
        frontier = below
    pending = iter(frontier.items())
    while chunk := dict(islice(pending, CHUNK)):
        one, other = [
            await _leaves(tree.records, {index: pair[side] for index, pair in chunk.items()})
            for side, tree in enumerate((left, right))
        ]
        yield [
            Differing(key, index, a.get(key), b.get(key))
            for index, a, b in zip(chunk, one, other, strict=True)
            for key in sorted({key for key, _ in a.items() ^ b.items()})
        ]


async def objects_of(tree: Tree) -> AsyncIterator[dict[str, bytes]]:
    """Every digest by key, some at a time. Raises VersionConflict when the tree is not whole."""
    frontier = {0: tree.root} if tree.root != NOTHING else {}
    for level in range(tree.depth):
        pages = await _pages(tree.records, level, frontier)
        frontier = {
            index * FANOUT + child: found
            for index, page in zip(frontier, pages, strict=True)
            for child in range(FANOUT)
            if (found := _child(page, child)) != NOTHING
        }
    pending = iter(frontier.items())
    while chunk := dict(islice(pending, CHUNK)):
        objects: dict[str, bytes] = {}
        for bucket in await _leaves(tree.records, chunk):
            objects |= bucket
        yield objects


async def _pages_above(tree: Tree, leaves: Sequence[int]) -> dict[tuple[int, int], bytes]:
    """Every page above these leaves, by level and index."""
    found: dict[tuple[int, int], bytes] = {}
    for level in range(tree.depth):
        wanted: dict[int, bytes] = {}
        for leaf in leaves:
            index = leaf // FANOUT ** (tree.depth - level)
            if index not in wanted:
                above = found[level - 1, index // FANOUT] if level else b""
                wanted[index] = _child(above, index % FANOUT) if level else tree.root
        for index, page in zip(wanted, await _pages(tree.records, level, wanted), strict=True):
            found[level, index] = page
    return found


async def _pages(records: Records, level: int, wanted: Mapping[int, bytes]) -> list[bytes]:
    names = [_page_name(level, index) for index in wanted]
    return [data or EMPTY_PAGE for data in await _checked(records, names, list(wanted.values()))]


async def _leaves(records: Records, wanted: Mapping[int, bytes]) -> list[dict[str, bytes]]:
    names = [_leaf_name(index) for index in wanted]
    return [_bucket(data) for data in await _checked(records, names, list(wanted.values()))]


async def _checked(records: Records, names: Sequence[bytes], digests: Sequence[bytes]) -> list[bytes | None]:
    found = await records.read(names)
    for data, above in zip(found, digests, strict=True):
        if (NOTHING if data is None else digest(data)) != above:
            raise VersionConflict("the digests are not whole, or another writer is changing them; read the head again")
    return found


def _leaf(keys: Sequence[str], objects: Objects) -> bytes:
    """The digests of sorted keys one after the other, then the keys as JSON: both are taken apart without a loop of ours."""
    return b"".join((len(keys).to_bytes(4), *map(objects.__getitem__, keys), orjson.dumps(keys)))


def _bucket(data: bytes | None) -> dict[str, bytes]:
    if data is None:
        return {}
    end = 4 + int.from_bytes(data[:4]) * DIGEST_BYTES
    digests = [data[at : at + DIGEST_BYTES] for at in range(4, end, DIGEST_BYTES)]
    return dict(zip(orjson.loads(data[end:]), digests, strict=True))


def _child(page: bytes | bytearray, child: int) -> bytes:
    return bytes(page[child * DIGEST_BYTES : (child + 1) * DIGEST_BYTES])


def _set(page: bytearray, child: int, found: bytes) -> None:
    page[child * DIGEST_BYTES : (child + 1) * DIGEST_BYTES] = found


def _page_name(level: int, index: int) -> bytes:
    return b"t/p/%d/%x" % (level, index)


def _leaf_name(index: int) -> bytes:
    return b"t/l/%x" % index
