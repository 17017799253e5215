# SPDX-License-Identifier: Apache-2.0
"""A plan as bytes is the same plan again."""

from dataclasses import replace

from nerv.history.memory import MemoryHistory
from nerv.sync.conflicts import ConflictJournal
from nerv.sync.keeping import from_bytes, to_bytes
from nerv.sync.plan import Direction
from nerv.sync.records import MemoryRecords
from nerv.sync.schema import WholeRow
from nerv.sync.sides import MappingSide
from nerv.sync.strategies import FieldMerge, SourcePriority
from nerv.sync.synchronizer import DiffSynchronizer

SCHEMA = WholeRow("thing", ("key",))


async def test_a_plan_is_the_same_again() -> None:
    """With creates, updates, deletes, versions, stamps, agreements and losses; what persons are asked is found anew."""
    left, right = MappingSide("left"), MappingSide("right")
    for key in ("same", "merged", "gone", "lost"):
        for side in (left, right):
            side.put(key, {"key": key, "a": 1, "b": 1.0, "ü": ["\n", None]})
    sync = DiffSynchronizer(
        "things",
        left,
        right,
        SCHEMA,
        agreed=MemoryRecords(),
        journal=ConflictJournal(MemoryHistory(), "things"),
        strategy=FieldMerge({"a": SourcePriority("left")}),
    )
    await sync.sync(Direction.BOTH)
    left.put("new", {"key": "new", "big": 2**53 + 1, "text": 'a "quoted"\nline'})
    right.put("merged", {"key": "merged", "a": 2, "b": 1.5, "ü": []})
    left.put("lost", {"key": "lost", "a": 8, "b": 1.0, "ü": []})
    right.put("lost", {"key": "lost", "a": 9, "b": 1.0, "ü": []})
    right.remove("gone")
    left.put("asked", {"key": "asked", "a": 1})
    right.put("asked", {"key": "asked", "a": 2})
    for side in (left, right):
        side.put("same", {"key": "same", "a": 7})
    plan = await sync.plan(Direction.BOTH)
    assert {one.action.value for one in plan.steps} == {"create", "update", "delete"}
    assert plan.losses
    again = from_bytes(to_bytes(plan))
    assert again == replace(plan, asked=())
    assert again.id == plan.id
    done = {("left", "lost"), ("right", "lost")}
    assert {one.key for one in again.without(done).steps} == {one.key for one in plan.steps} - {"lost"}
