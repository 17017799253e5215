# SPDX-License-Identifier: Apache-2.0
"""Rows of the system behind `mysource`, as a side of a sync: finish the three places that are marked."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, ClassVar

from nerv.perspectives import Identifier, Perspective
from nerv.sync.sides import Page, PagedSource

Ask = Callable[[Any], Awaitable[tuple[Sequence[dict[str, Any]], Any]]]


class MySourceRow(Perspective):
    """1. What a row holds. This is the diffing schema, too: see Ignored, Tolerance and @computed of nerv.perspectives."""

    key: Annotated[str, Identifier()]
    name: str


async def ask_system(cursor: Any) -> tuple[Sequence[dict[str, Any]], Any]:
    """2. The rows of a page, and the cursor of the next one; None only after the last. Errors: Unavailable to be asked again."""
    return [{"key": "1", "name": "one"}, {"key": "2", "name": "two"}], None


class MySource(PagedSource):
    """3. Its columns that tell rows apart. `fetch` and `write` make it one that is read by key, or written to."""

    category = "mysource"
    key = "key"
    row: ClassVar[type[Perspective]] = MySourceRow

    def __init__(self, ask: Ask = ask_system) -> None:
        super().__init__()
        self._ask = ask

    async def page(self, cursor: Any) -> Page:
        """A page of the system; of None the first."""
        return Page(*await self._ask(cursor))
