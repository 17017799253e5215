# SPDX-License-Identifier: Apache-2.0
"""The syncs that the app declares, checked once at the start: sources, each with the streams of its category, and pairs."""

import re
from collections.abc import Mapping
from typing import Any

from nerv.app import App
from nerv.app.ticks import Ticks
from nerv.client import Client
from nerv.errors import Misconfigured, NotFound
from nerv.protocols.side import Side
from nerv.sync.pair import Pair
from nerv.sync.schema import Schema, WholeRow
from nerv.sync.sides import HistorySide, SourceSide
from nerv.sync.sides.source import Run

# A name becomes part of stream names and paths; a slash in it would make two runs' streams the same.
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_CATEGORY = re.compile(r"[a-z0-9][a-z0-9._]{0,63}")


AnySource = Any
"""A `Source`, which is read whole, or one that is a side itself, such as a table or pages over HTTP, and has a `schema`."""


class SourcePair(Pair):
    """A source of an app and the streams of its category, which follow it."""

    def __init__(self, name: str, source: AnySource, limit: int, run: Run) -> None:
        self._name = name
        self.source = source
        self._limit = limit
        self._run = run
        self.schedule = getattr(source, "schedule", None)
        self.under = getattr(source, "under", None)

    @property
    def keeps_rows(self) -> bool:
        """Whether its source is read whole each time, and holds what it has read: better not longer than a run."""
        return not _is_side(self.source)

    def left(self, mesh: Client) -> Side:
        """The source."""
        if _is_side(self.source):
            side: Side = self.source
            return side
        return SourceSide(self.source, limit=self._limit, run=self._run)

    def right(self, mesh: Client) -> Side:
        """The streams of its category."""
        return HistorySide(mesh.streams, self.source.category, writer=f"nerv:sync:{self._name}", limit=self._limit)

    def schema(self) -> Schema:
        """What the source says, or whole rows, told apart by its key."""
        if _is_side(self.source):
            found: Schema = self.source.schema
            return found
        return WholeRow(self.source.category, (self.source.key,))


class Pairs:
    """Pairs by name. `run` is how sources, which block, are read."""

    def __init__(self, app: App, limit: int, run: Run) -> None:
        """Raises Misconfigured for one that cannot work, or two that would undo each other's changes."""
        self._app = app
        self._limit = limit
        self._run = run
        owners: dict[str, str] = {}
        for name in app.sources:
            if not _NAME.fullmatch(name):
                raise Misconfigured(f"source {name!r}: a name has small letters, digits, dots, dashes, underscores")
            source = self._source(name)
            _check_category(name, source.category, owners)
            _check_crons(f"source {name}", getattr(source, "schedule", None))
        for name in app.syncs:
            # It names the categories of its conflicts and of what was agreed on.
            if not _CATEGORY.fullmatch(name):
                raise Misconfigured(f"sync {name!r}: a name has small letters, digits, dots and underscores")
            try:
                pair = self._pair(name)
                pair.schema()
            except Misconfigured as error:
                raise Misconfigured(f"sync {name}: {error.detail}") from None
            _check_crons(f"sync {name}", pair.schedule, pair.verification)
        self._under = {name: self.make(name).under for name in self.names()}
        _check_under(self._under)

    def names(self) -> list[str]:
        """The names, sorted."""
        return sorted({*self._app.sources, *self._app.syncs})

    def check(self, name: str) -> None:
        """Raises NotFound."""
        if name not in self._app.sources and name not in self._app.syncs:
            raise NotFound(f"there is no sync {name[:64]!r}; there are {', '.join(self.names()) or 'none'}")

    def make(self, name: str) -> Pair:
        """A new one. Raises NotFound."""
        self.check(name)
        if name in self._app.syncs:
            return self._pair(name)
        return SourcePair(name, self._source(name), self._limit, self._run)

    def below(self, name: str) -> dict[str, Pair]:
        """The pairs whose objects hang under those of this one, by name."""
        return {child: self.make(child) for child, above in self._under.items() if above == name}

    def row(self, name: str) -> dict[str, Any]:
        """What people should know of a sync."""
        pair = self.make(name)
        schema = pair.schema()
        row = {
            "sync": name,
            "kind": schema.name,
            "direction": pair.direction.value,
            "identifiers": list(schema.identifiers),
            "approval": pair.approval,
            "schedule": pair.schedule,
            "under": pair.under,
        }
        if isinstance(pair, SourcePair):
            told = pair.source.describe()
            return row | {"source": told.kind, "reads": list(told.inputs), "category": pair.source.category}
        return row | {"strategy": pair.strategy.name, "scope": {name: list(of) for name, of in pair.scope.items()}}

    def _source(self, name: str) -> AnySource:
        try:
            source = self._app.sources[name].factory()
            lacks = [part for part in ("category", "key") if not isinstance(getattr(source, part, None), str | tuple)]
        except TypeError as error:
            raise Misconfigured(f"source {name}: {error}") from error
        if lacks or not callable(getattr(source, "load", None)):
            raise Misconfigured(f"source {name} lacks {', '.join(lacks) or 'load'}; derive it from nerv.sync.CsvSource")
        return source

    def _pair(self, name: str) -> Pair:
        kind = self._app.syncs[name].pair
        if not (isinstance(kind, type) and issubclass(kind, Pair)):
            raise Misconfigured("derive it from nerv.sync.Pair")
        try:
            return kind()
        except TypeError as error:
            raise Misconfigured(str(error)) from error


def _is_side(source: AnySource) -> bool:
    return callable(getattr(source, "fetch", None))


def _check_crons(what: str, *crons: str | None) -> None:
    for cron in filter(None, crons):
        try:
            Ticks.of(cron, None, "UTC")
        except Misconfigured as error:
            raise Misconfigured(f"{what}: {error.detail}") from None


def _check_under(under: Mapping[str, str | None]) -> None:
    """Raises Misconfigured for a sync under one that is not there, or in the end under itself."""
    for name, above in under.items():
        way = [name]
        while above is not None:
            if above not in under:
                raise Misconfigured(f"sync {way[-1]} is under {above!r}, which is none; there are {', '.join(under)}")
            way.append(above)
            if above in way[:-1]:
                raise Misconfigured(f"syncs are under each other: {' → '.join(way)}")
            above = under[above]


def _check_category(name: str, category: str, owners: dict[str, str]) -> None:
    if not _CATEGORY.fullmatch(category) or category == "sync":
        raise Misconfigured(
            f"source {name}: category {category!r} must have small letters, digits, dots and underscores "
            "only, and not be sync"
        )
    if category in owners:
        raise Misconfigured(f"sources {owners[category]} and {name} have category {category} both")
    owners[category] = name
