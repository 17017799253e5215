# SPDX-License-Identifier: Apache-2.0
"""The syncs whose objects hang under those of a run: their runs are a part of it, after it has made and before it removes."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from nerv.errors import Refused, Unavailable
from nerv.sync.errors import RunUnderWay
from nerv.sync.pair import Pair
from nerv.sync.tree import digest
from nerv_sync.model import Document, Order, refused_document

PATIENCE, PAUSE_SECONDS = 60, 1.0  # how often a run is ordered while another one of its sync goes on
LONGEST_NAME = 128  # of a run
BRIEF = ("run", "status", "plan", "summary", "needs_confirmation", "outcomes", "below")
TOLD = 500  # characters of a refusal: the documents of all that ran stand in one event

Run = Callable[[Order], Awaitable[Document]]
"""Performs a run as a part of another one."""


class Below:
    """The runs below one. Their ids follow from its own, so that a run which goes on elsewhere finds what they came to."""

    def __init__(self, order: Order, pairs: Mapping[str, Pair], run: Run) -> None:
        self._order = order
        # A plan that is named, and a part, is about the objects of one sync alone.
        self._pairs = {} if order.plan is not None or order.where else pairs
        self._run = run
        self._ran: dict[str, Document] = {}

    async def run(self) -> bool:
        """Run all of them, and those below them; whether they have left nothing undone. Raises Unavailable."""
        for name, pair in self._pairs.items():
            order = replace(
                self._order,
                sync=name,
                run=_name(self._order),
                dry_run=self._order.dry_run or pair.approval,
                cause="parents",
            )
            self._ran[name] = await self._ended(order)
        return self.whole

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._pairs)

    @property
    def whole(self) -> bool:
        """Whether those that ran have left nothing undone: then nothing hangs any more under what is removed."""
        return all(map(_is_whole, self._ran.values()))

    def document(self) -> Document:
        """What the runs came to, for the document of the one above."""
        return {"below": {name: _brief(of) for name, of in self._ran.items()}} if self else {}

    async def _ended(self, order: Order) -> Document:
        for _ in range(PATIENCE):
            try:
                return await self._run(order)
            except RunUnderWay:
                await asyncio.sleep(PAUSE_SECONDS)
            except Refused as refusal:
                return refused_document(order, refusal)
        raise Unavailable(
            f"another run of {order.sync} goes on all the time; repeat the order", retry_after=PAUSE_SECONDS
        )


def _name(above: Order) -> str:
    name = f"{above.run}-under-{above.sync}"
    return name if len(name) <= LONGEST_NAME else digest(name.encode()).hex()


def _brief(document: Document) -> Document:
    brief = {part: document[part] for part in BRIEF if part in document}
    if asked := document.get("asked"):
        brief["asked"] = len(asked)
    if problem := document.get("problem"):
        brief["problem"] = {"title": problem["title"], "detail": problem["detail"][:TOLD]}
    return brief


def _is_whole(document: Document) -> bool:
    changes = sum(count for name, count in document.get("summary", {}).items() if name != "unchanged")
    ended = document["status"] == "done" or (document["status"] == "planned" and not changes)
    return ended and not document.get("asked")  # what waits for a person is still there
