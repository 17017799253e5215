# SPDX-License-Identifier: Apache-2.0
"""What differs between two versions, on the memory store."""

from collections.abc import Mapping

from nerv.protocols.views import Epoch, View, Views
from nerv.testing.memory_views import MemoryViews
from nerv_projector.parity import compare
from nerv_projector.reading import PAGE


async def version(token: str, views: Mapping[str, View]) -> tuple[Views, Epoch]:
    """A version that holds these views."""
    store, epoch = MemoryViews(), Epoch(token, {})
    await store.begin(epoch, {}, instead_of=None)
    await store.apply(epoch, {}, views)
    return store, epoch


async def test_versions_with_the_same_states_are_equal() -> None:
    """However their members are ordered, and however many events each took; a removed entity is none."""
    left = await version("a", {"x": View(1, b'{"a":1,"b":2}'), "gone": View(3, b"null")})
    right = await version("b", {"x": View(2, b'{"b":2,"a":1}')})
    found = await compare(left, right)
    assert (found.equal, found.same) == (True, 1)


async def test_what_differs_is_counted_and_shown() -> None:
    """Keys that only one has, and the fields that differ, over page after page."""
    many = {f"k{n:04d}": View(1, b'{"n":1}') for n in range(2 * PAGE)}
    left = await version("a", {**many, "x": View(1, b'{"a":1,"b":2}'), "only-a": View(1, b"1")})
    right = await version("b", {**many, "x": View(1, b'{"a":1,"b":3}'), "a-only-b": View(1, b"1")})
    found = (await compare(left, right)).to_dict()
    assert (found["equal"], found["same"], found["differing"]) == (False, 2 * PAGE, 1)
    assert (found["only_live"], found["only_built"], found["fields"]) == (1, 1, {"b": 1})
    assert {"key": "x", "differs": ["b"], "changes": [[["b"], [2], [3]]]} in found["examples"]


async def test_a_key_that_is_parked_in_one_alone_differs() -> None:
    """Its state may be the same."""
    left = await version("a", {"x": View(1, b"1", {"cause": "no"})})
    right = await version("b", {"x": View(1, b"1")})
    assert (await compare(left, right)).fields == {"parked": 1}
