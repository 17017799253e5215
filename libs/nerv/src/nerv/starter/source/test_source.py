# SPDX-License-Identifier: Apache-2.0
"""The source `mysource` keeps what every side of a sync promises."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import pytest
from mypackage.mysource import MySource

from nerv.protocols.side import Side
from nerv.testing.contracts.side import Make, SideContract, Thing, loaded, rows

PAGE = 1000


class Things(MySource):
    """The same source over the rows of the contract."""

    row = Thing
    key = "key"


class TestMySource(SideContract):
    """A system that is read page by page. Inherit WritableSideContract once there is a `write`."""

    @pytest.fixture
    def make(self) -> Make:
        """A system of these rows, in pages."""

        async def made(values: Mapping[str, int]) -> Side:
            given = rows(values)

            async def ask(cursor: Any) -> tuple[Sequence[dict[str, Any]], Any]:
                start = cursor or 0
                following = start + PAGE if start + PAGE < len(given) else None
                return list(islice(given, start, start + PAGE)), following

            return Things(ask)

        return made


async def test_the_rows_of_the_system_are_as_declared() -> None:
    """All of them, each under its key."""
    found, mark = await loaded(MySource())
    assert mark is not None
    assert len(found) == mark.rows > 0
