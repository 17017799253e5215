# SPDX-License-Identifier: Apache-2.0
"""A sync's scope: what is outside of it is neither compared, nor written, nor deleted."""

import pytest

from nerv.errors import Invalid
from nerv.sync.plan import Direction
from nerv.sync.records import MemoryRecords
from nerv.sync.schema import Digester, WholeRow
from nerv.sync.scope import Scope
from nerv.sync.sides import MappingSide
from nerv.sync.synchronizer import DiffSynchronizer

SCHEMA = WholeRow("plane", ("key",))


def side(name: str, planes: dict[str, tuple[str, int]]) -> MappingSide:
    """Planes of countries, with so many seats."""
    rows = [{"key": key, "country": country, "seats": seats} for key, (country, seats) in planes.items()]
    return MappingSide.of(name, SCHEMA.identifiers, rows)


async def test_what_is_out_of_scope_stays_as_it_is() -> None:
    """On either side: one that is missing on the left is not deleted, one that has left the scope on the left is neither."""
    left = side("left", {"new": ("NL", 1), "foreign": ("US", 1), "moved": ("US", 5), "changed": ("NL", 2)})
    right = side("right", {"kept": ("US", 9), "moved": ("NL", 5), "changed": ("NL", 1), "gone": ("NL", 3)})
    sync = DiffSynchronizer("planes", left, right, SCHEMA, scope=Scope({"country": ["NL"]}))
    plan = await sync.plan()
    assert {one.key: one.action.value for one in plan.steps} == {"new": "create", "changed": "update", "gone": "delete"}
    assert plan.present == {"left": 2, "right": 3}
    await sync.apply(plan, confirm_deletes=True)
    assert "kept" in right
    assert right["moved"]["country"] == "NL"
    assert (await sync.plan()).steps == []


async def test_one_plan_may_be_of_a_part() -> None:
    """The rest is planned the next time."""
    left, right = side("left", {"a": ("NL", 1), "b": ("US", 1)}), side("right", {})
    sync = DiffSynchronizer("planes", left, right, SCHEMA)
    await sync.apply(await sync.plan(scope=Scope.parse(["country=US"])))
    assert ("a" in right, "b" in right) == (False, True)
    assert [one.key for one in (await sync.plan(Direction.TO_RIGHT)).steps] == ["a"]


async def test_digests_of_another_scope_are_void() -> None:
    """The same records serve a sync whose scope has been widened: it sees everything."""
    left, right = side("left", {"a": ("NL", 1), "b": ("US", 1)}), side("right", {})
    records = MemoryRecords(), MemoryRecords()
    narrow = DiffSynchronizer("p", left, right, SCHEMA, digests=records, scope=Scope({"country": ["NL"]}))
    assert len((await narrow.plan()).steps) == 1
    assert len((await DiffSynchronizer("p", left, right, SCHEMA, digests=records).plan()).steps) == 2


def test_filters_are_read_from_texts() -> None:
    """Several values of one field are alternatives, several fields hold together; numbers are found by their text."""
    scope = Scope.parse(["country=NL", "country=BE", "seats=100"])
    assert scope({"country": "BE", "seats": 100})
    assert not scope({"country": "BE", "seats": 1})
    assert not scope({"seats": 100})
    assert Digester(SCHEMA, scope).fingerprint != Digester(SCHEMA).fingerprint
    for text in ("country", "=NL", ""):
        with pytest.raises(Invalid, match="field=value"):
            Scope.parse([text])
