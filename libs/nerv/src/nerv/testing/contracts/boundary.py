# SPDX-License-Identifier: Apache-2.0
"""What every implementation of `nerv.protocols.Boundary` does."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from nerv.boundary import cross
from nerv.errors import Refused
from nerv.protocols import Boundary

Make = Callable[[str], Awaitable[Any]]
"""Makes something from outside: `good`, `bad` (validation refuses it) or `failing` (the inside raises a ValueError on it)."""

Told = Callable[[Sequence[Any]], Awaitable[Sequence[str]]]
"""Takes the answers of all crossings; gives what the outside was told of those that failed, a text for each."""


class BoundaryContract:
    """Inherit it and give the fixtures `boundary`, `make`, `told`, and `inside`, a list of what was processed without error."""

    async def test_what_is_good_crosses_once(
        self, boundary: Boundary[Any, Any, Any], make: Make, inside: list[Any], told: Told
    ) -> None:
        """And nobody is told of an error."""
        answer = await cross(boundary, await make("good"))
        assert len(inside) == 1
        assert await told([answer]) == []

    async def test_what_is_bad_never_gets_in(
        self, boundary: Boundary[Any, Any, Any], make: Make, inside: list[Any], told: Told
    ) -> None:
        """Validation refuses it, and the outside is told."""
        with pytest.raises(Refused):
            await boundary.validate(await make("bad"))
        answer = await cross(boundary, await make("bad"))
        assert inside == []
        assert len(await told([answer])) == 1

    async def test_a_failure_inside_is_told_without_its_frames(
        self, boundary: Boundary[Any, Any, Any], make: Make, told: Told
    ) -> None:
        """Nothing is raised, and no stack trace goes out."""
        answer = await cross(boundary, await make("failing"))
        [text] = await told([answer])
        assert text
        assert "Traceback" not in text
        assert 'File "' not in text

    async def test_the_next_one_crosses(
        self, boundary: Boundary[Any, Any, Any], make: Make, inside: list[Any], told: Told
    ) -> None:
        """Whatever became of those before it; what failed is counted."""
        answers = [await cross(boundary, await make(kind)) for kind in ("bad", "failing", "good", "bad", "good")]
        assert len(inside) == 2
        assert len(await told(answers)) == 3
        assert sum(boundary.describe().counters.values()) >= 3
