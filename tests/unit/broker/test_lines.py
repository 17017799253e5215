# SPDX-License-Identifier: Apache-2.0
"""A body of lines is read as it comes: whole lines, with their numbers, never more than a batch, never more than a line."""

from collections.abc import AsyncIterator, Sequence

import pytest

from nerv.errors import TooLarge
from nerv.limits import Limits
from nerv_broker.publishing.lines import Line, batches

LIMITS = Limits(batch=3, body=20)


async def pieces(parts: Sequence[bytes]) -> AsyncIterator[bytes]:
    """A body that comes in these."""
    for part in parts:
        yield part


async def read(*parts: bytes) -> list[list[Line]]:
    """What comes of them."""
    return [batch async for batch in batches(pieces(parts), LIMITS)]


async def test_lines_are_whole_however_the_body_is_cut() -> None:
    """A line may come in many pieces, the last one without its end; empty ones count."""
    assert await read(b"on", b"e\ntw", b"o\n\n", b"four") == [[(1, b"one")], [(2, b"two")], [(4, b"four")]]


async def test_no_more_than_a_batch_at_a_time() -> None:
    """Five lines that come at once are three and two."""
    assert await read(b"1\n2\n3\n4\n5\n") == [[(1, b"1"), (2, b"2"), (3, b"3")], [(4, b"4"), (5, b"5")]]


async def test_a_line_without_an_end_is_not_kept_for_ever() -> None:
    """The lines before it are read; the error names it."""
    found: list[list[Line]] = []

    async def keep() -> None:
        async for batch in batches(pieces([b"one\n", *[b"x" * 8] * 3]), LIMITS):
            found.append(batch)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(TooLarge, match="line 2"):
        await keep()
    assert found == [[(1, b"one")]]
