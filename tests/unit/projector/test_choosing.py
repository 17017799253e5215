# SPDX-License-Identifier: Apache-2.0
"""Filters and order over views."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from nerv.errors import Invalid, TooLarge
from nerv.protocols.views import View
from nerv_projector.choosing import Keyed, chosen, expression

STATES = {"a": {"n": 3, "at": "JFK"}, "b": {"n": 20, "at": "EWR"}, "c": {"at": "LGA"}, "d": {"n": 1, "at": "JFK"}}


async def views() -> AsyncIterator[Keyed]:
    """In order of their keys."""
    for key, state in STATES.items():
        yield key, View(1, orjson.dumps(state))


def as_it_is(key: str, view: View) -> Any:
    """The state."""
    return orjson.loads(view.state)


async def keys(where: str | None, order: str | None = None, most: int = 10) -> list[str]:
    """Of those chosen."""
    compiled = [None if text is None else expression(text, "it") for text in (where, order)]
    return [key for key, _ in await chosen(views(), compiled[0], compiled[1], most, as_it_is)]


async def test_what_satisfies_the_expression_is_chosen() -> None:
    """In order of the keys, where no other is asked for."""
    assert await keys("at == 'JFK'") == ["a", "d"]
    assert await keys("n > `2` && at != 'JFK'") == ["b"]
    assert await keys("at") == []  # a text is no verdict


async def test_an_order_puts_numbers_first_and_what_has_none_last() -> None:
    """As numbers, not as their text."""
    assert await keys(None, "n") == ["d", "a", "b", "c"]
    assert await keys("n", "at") == []
    assert await keys("at != 'x'", "at") == ["b", "a", "d", "c"]


async def test_more_than_it_may_go_through_is_refused() -> None:
    """It names the limit."""
    with pytest.raises(TooLarge, match="more than 3 views"):
        await keys("n", most=3)


@pytest.mark.parametrize("text", ["n >", "[", "unknown(n)"])
async def test_what_is_no_expression_is_refused(text: str) -> None:
    """When it is read, or when it meets a state."""
    with pytest.raises(Invalid):
        await keys(text)
