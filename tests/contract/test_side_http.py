# SPDX-License-Identifier: Apache-2.0
"""The port `Side`: a collection of JSON over HTTP."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from nerv.protocols.side import Side
from nerv.sync.sides.http import Feed, HttpSource
from nerv.testing.contracts.side import Make, Thing, WritableSideContract, rows
from tests.unit.sync.collection import Collection


@pytest.mark.parametrize("told", [None, Feed("/changes")], ids=["without a feed", "with a feed"])
class TestHttpSource(WritableSideContract):
    """Pages of a collection, objects with ETags; what has changed since a cursor."""

    @pytest_asyncio.fixture
    async def make(self, told: Feed | None) -> AsyncIterator[Make]:
        """Served in this process."""
        async with AsyncExitStack() as stack:

            async def made(values: Mapping[str, int]) -> Side:
                stored = {row["key"]: row for row in rows(values)}
                for row in stored.values():
                    del row["double"]
                address = await stack.enter_async_context(Collection(stored).served())

                class Things(HttpSource):
                    url = address
                    item = "/things/{key}"
                    total = "total"
                    category = "thing"
                    key = "key"
                    row = Thing
                    feed = told

                return await stack.enter_async_context(Things())

            yield made
