# SPDX-License-Identifier: Apache-2.0
"""The view port in memory."""

from collections import Counter
from collections.abc import Mapping, Sequence

from nerv.projections.indexes import member
from nerv.protocols.views import Cursor, Epoch, Move, Progress, Span, Verdict, View


class MemoryViews:
    """`nerv.protocols.views.Views` over dictionaries."""

    def __init__(self) -> None:
        self._epoch: Epoch | None = None
        self._cursors: dict[str, dict[int, bytes]] = {}
        self._views: dict[str, dict[str, View]] = {}
        self._folded: dict[str, int] = {}

    async def epoch(self) -> Epoch | None:
        """The present epoch."""
        return self._epoch

    async def begin(self, new: Epoch, cursors: Mapping[int, Cursor], *, instead_of: Epoch | None) -> Epoch:
        """Begin an epoch (see `Views.begin`)."""
        present = self._epoch
        if present is not None and (instead_of is None or present.token != instead_of.token):
            return present
        self._epoch = new
        self._cursors[new.token] = {p: cursor.to_bytes() for p, cursor in cursors.items()}
        self._views[new.token] = {}
        self._folded[new.token] = 0
        return new

    async def progress(self, epoch: Epoch) -> Progress:
        """Where an epoch stands."""
        token = epoch.token
        views = self._views.get(token, {})
        parked = Counter(view.partition for view in views.values() if view.parked is not None)
        size = Counter[int]()
        for view in views.values():
            size[view.partition] += len(view.state)
        return Progress(dict(self._cursors.get(token, {})), self._folded.get(token, 0), len(views), parked, size)

    async def load(self, epoch: Epoch, keys: Sequence[str]) -> dict[str, View]:
        """The views of these keys."""
        views = self._views.get(epoch.token, {})
        return {key: views[key] for key in keys if key in views}

    async def apply(self, epoch: Epoch, moves: Mapping[int, Move], views: Mapping[str, View]) -> Verdict:
        """Write views and cursors (see `Views.apply`)."""
        if self._epoch is None or self._epoch.token != epoch.token:
            return Verdict.REPLACED
        cursors = self._cursors[epoch.token]
        if any(cursors.get(p) != move.seen for p, move in moves.items()):
            return Verdict.MOVED
        cursors.update({p: move.cursor.to_bytes() for p, move in moves.items()})
        self._views[epoch.token].update(views)
        self._folded[epoch.token] += sum(move.folded for move in moves.values())
        return Verdict.DONE

    async def page(
        self, epoch: Epoch, after: str | None, limit: int, span: Span | None = None, *,
        backward: bool = False, parked: bool = False,
    ) -> list[tuple[str, View]]:  # fmt: skip
        """Views in order of their keys, or of the index."""
        views = self._views.get(epoch.token, {})
        if span is None:
            keys = sorted((k for k, view in views.items() if view.parked is not None or not parked), key=str.encode)
            return [(k, views[k]) for k in keys if after is None or k.encode() > after.encode()][:limit]
        members = ((member(entry, key), view) for key, view in views.items() for entry in view.index)
        found = sorted(
            ((one, view) for one, view in members if span.low <= one < span.high), key=_first, reverse=backward
        )
        return [(one.decode(), view) for one, view in found[:limit]]

    async def drop(self, epoch: Epoch) -> None:
        """Delete an epoch that is over."""
        if self._epoch is not None and self._epoch.token == epoch.token:
            return
        for part in (self._cursors, self._views, self._folded):
            part.pop(epoch.token, None)


def _first(pair: tuple[bytes, View]) -> bytes:
    return pair[0]
