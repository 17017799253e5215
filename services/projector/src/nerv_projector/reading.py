# SPDX-License-Identifier: Apache-2.0
"""Read the live views of a projection; of one that is merged of parts, the one state that they come to."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from nerv.projections import MERGED, Projection
from nerv.protocols.views import Epoch, View, Views
from nerv_projector.model import NOTHING

PAGE = 1000
PARTS = 10_000  # more partitions than any topic has


async def one(projection: Projection[Any], views: Views, epoch: Epoch, key: str) -> View | None:
    """The view of a key; None where nothing is folded of it, or it was removed."""
    if projection.merged:
        found = await _merged(projection, views, epoch) if key == MERGED else None
    else:
        found = (await views.load(epoch, [key])).get(key)
    return found if found is not None and is_there(found) else None


async def page(
    projection: Projection[Any], views: Views, epoch: Epoch, after: str | None, limit: int
) -> Sequence[tuple[str, View]]:
    """Views in order of their keys, beyond `after`; those of removed entities, too."""
    if not projection.merged:
        return await views.page(epoch, after, limit)
    found = await _merged(projection, views, epoch)
    return [] if found is None or after is not None else [(MERGED, found)]


async def every(projection: Projection[Any] | None, views: Views, epoch: Epoch) -> AsyncIterator[tuple[str, View]]:
    """All views that are there, in order of their keys, a page at a time; without a projection, its parts unmerged."""
    after: str | None = None
    while True:
        found = await (
            views.page(epoch, after, PAGE) if projection is None else page(projection, views, epoch, after, PAGE)
        )
        for key, view in found:
            if is_there(view):
                yield key, view
        if not found:
            return
        after = found[-1][0]


def is_there(view: View) -> bool:
    """Whether there is something to show: an entity that was removed has only its version left."""
    return view.state != NOTHING or view.parked is not None


async def _merged(projection: Projection[Any], views: Views, epoch: Epoch) -> View | None:
    parts = [view for _, view in await views.page(epoch, None, PARTS)]
    if not parts:
        return None
    parked = next((view.parked for view in parts if view.parked is not None), None)
    return View(sum(view.version for view in parts), projection.merge(view.state for view in parts), parked)
