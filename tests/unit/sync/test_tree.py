# SPDX-License-Identifier: Apache-2.0
"""The bucket tree: the same for the same objects, whatever way it grew, and every difference is found."""

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nerv.errors import VersionConflict
from nerv.sync import tree
from nerv.sync.records import MemoryRecords
from nerv.sync.tree import NOTHING, Tree

KEYS = st.text(min_size=1, max_size=6).filter(lambda key: key.isprintable())
DIGESTS = st.binary(min_size=16, max_size=16).filter(lambda found: found != NOTHING)
OBJECTS = st.dictionaries(KEYS, DIGESTS, max_size=40)
DEPTHS = st.integers(1, 3)


async def build(objects: Mapping[str, bytes], depth: int) -> tuple[Tree, dict[bytes, bytes]]:
    """A tree made at once, and all its records."""
    records, written = MemoryRecords(), dict[bytes, bytes]()
    root = NOTHING
    for number, some in enumerate(tree.built(objects, depth)):
        await records.write(some, head=b"%d" % number, after=await records.head())
        written |= some
        root = tree.root_of(some)
    return Tree(records, depth, root), written


async def grow(start: Tree, changes: Mapping[str, bytes | None]) -> Tree:
    """The tree after these changes."""
    records, after, _ = await tree.updated(start, changes)
    head = await start.records.head()
    await start.records.write(records, head=(head or b"") + b"+", after=head)
    return after


async def objects_of(found: Tree) -> dict[str, bytes]:
    """All that a tree holds."""
    return {key: value async for some in tree.objects_of(found) for key, value in some.items()}


@settings(deadline=None)
@given(OBJECTS, st.dictionaries(KEYS, st.none() | DIGESTS, max_size=40), DEPTHS)
async def test_a_tree_that_was_changed_is_the_tree_made_at_once(
    objects: dict[str, bytes], changes: dict[str, bytes | None], depth: int
) -> None:
    """Record by record, whatever was put, replaced and removed; nothing of what is gone is left."""
    changed, _ = await build(objects, depth)
    changed = await grow(changed, changes)
    wanted = {key: value for key, value in {**objects, **changes}.items() if value is not None}
    whole, records = await build(wanted, depth)
    assert changed.root == whole.root
    assert await changed.records.read(list(records)) == list(records.values())
    assert await objects_of(changed) == wanted
    removed = await grow(changed, dict.fromkeys(wanted))
    assert removed.root == NOTHING
    assert await removed.records.read(list(records)) == [None] * len(records)


@settings(deadline=None)
@given(OBJECTS, OBJECTS, DEPTHS)
async def test_exactly_what_differs_is_found(left: dict[str, bytes], right: dict[str, bytes], depth: int) -> None:
    """Each key once, with the digests of both."""
    one, _ = await build(left, depth)
    other, _ = await build(right, depth)
    found = [(d.key, d.left, d.right) async for some in tree.differences(one, other) for d in some]
    wanted = {key for key in {*left, *right} if left.get(key) != right.get(key)}
    assert sorted(found) == sorted((key, left.get(key), right.get(key)) for key in wanted)


async def test_growth_is_counted() -> None:
    """By the objects that came and went, not by those that were replaced."""
    start, _ = await build({"a": b"1" * 16, "b": b"2" * 16}, 1)
    _, _, grown = await tree.updated(start, {"a": b"9" * 16, "b": None, "c": b"3" * 16, "d": b"4" * 16, "e": None})
    assert grown == 1


async def test_what_does_not_fit_the_digest_above_it_is_refused() -> None:
    """A leaf or page that is missing or another one is noticed wherever it is read."""
    objects = {f"key-{n}": tree.digest(b"%d" % n) for n in range(100)}
    for name in (b"t/p/0/0", b"t/p/1/a", b"t/l/aa"):
        for damage in (None, b"\x00\x00\x00\x00[]"):
            whole, records = await build(objects | {"x": b"7" * 16}, 2)
            assert name in records
            other, _ = await build({}, 2)
            head = await whole.records.head()
            await whole.records.write({name: damage}, head=b"damaged", after=head)
            with pytest.raises(VersionConflict):
                _ = [found async for found in tree.differences(whole, other)]
            with pytest.raises(VersionConflict):
                await objects_of(whole)
            with pytest.raises(VersionConflict):
                await grow(whole, dict.fromkeys(objects, b"8" * 16))


def test_leaves_are_filled_evenly() -> None:
    """Running numbers, addresses and UUIDs: no leaf has four times as many as it would on average."""
    for pattern in ("N%05d", "%d", "user-%d@example.com", "%032x"):
        leaves: dict[int, int] = {}
        for number in range(20_000):
            leaf = tree.leaf_of(pattern % number, 2)
            leaves[leaf] = leaves.get(leaf, 0) + 1
        assert len(leaves) == 256
        assert max(leaves.values()) < 4 * 20_000 / 256


@pytest.mark.parametrize(("count", "depth"), [(0, 1), (512, 1), (513, 2), (131_072, 3), (1_000_000, 4), (10**12, 6)])
def test_a_leaf_has_at_most_32_objects_on_average(count: int, depth: int) -> None:
    """As long as the tree is not at its deepest."""
    assert tree.depth_for(count) == depth
