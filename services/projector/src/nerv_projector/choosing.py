# SPDX-License-Identifier: Apache-2.0
"""Filters and order over the views of a projection: JMESPath over the states as the reader is shown them, which only reads."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult

from nerv.errors import Invalid, TooLarge
from nerv.protocols.views import View

EXPRESSION = 1000  # characters

Keyed = tuple[str, View]


def expression(text: str, what: str) -> ParsedResult:
    """A compiled expression. Raises Invalid."""
    if len(text) > EXPRESSION:
        raise TooLarge(f"{what} has {len(text)} characters; the limit is {EXPRESSION}")
    try:
        return jmespath.compile(text)
    except JMESPathError as error:
        raise Invalid(f"{what} is no JMESPath expression: {error}") from None


def satisfies(where: ParsedResult | None, state: Any) -> bool:
    """Whether a state satisfies an expression: it gives true, and nothing that merely counts as true. Raises Invalid."""
    return where is None or _search(where, state, "where") is True


async def chosen(
    views: AsyncIterator[Keyed], where: ParsedResult | None, order: ParsedResult | None, most: int,
    state_of: Callable[[str, View], Any],
) -> list[Keyed]:  # fmt: skip
    """The views whose state satisfies `where`, in order of what `order` finds in it, and of their keys.

    Numbers come before texts, what has neither last. Raises TooLarge when there are more than `most` to go through.
    """
    found: list[tuple[Any, Keyed]] = []
    seen = 0
    async for key, view in views:
        seen += 1
        if seen > most:
            raise TooLarge(
                f"there are more than {most} views to go through (NERV_PROJECTOR__CHOOSE); page through them instead"
            )
        state = state_of(key, view)
        if satisfies(where, state):
            found.append((None if order is None else _rank(_search(order, state, "order")), (key, view)))
    if order is not None:
        found.sort(key=lambda one: one[0])
    return [keyed for _, keyed in found]


def _search(compiled: ParsedResult, state: Any, what: str) -> Any:
    try:
        return compiled.search(state)
    except JMESPathError as error:
        raise Invalid(f"{what} does not fit the states: {error}") from None


def _rank(value: Any) -> tuple[int, float, str]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 0, value, ""
    return (1, 0, value) if isinstance(value, str) else (2, 0, "")
