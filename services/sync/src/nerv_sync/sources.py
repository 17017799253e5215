# SPDX-License-Identifier: Apache-2.0
"""The sources that the app declares, checked once at the start."""

import re
from collections.abc import Mapping
from typing import Any

from nerv.app import App, SourceSpec
from nerv.errors import Misconfigured, NotFound
from nerv.protocols.source import Source

# A name becomes part of stream names and paths; a slash in it would make two runs' streams the same.
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_CATEGORY = re.compile(r"[a-z0-9][a-z0-9._]{0,63}")


class Sources:
    """Sources by name."""

    def __init__(self, app: App) -> None:
        """Raises Misconfigured for a source that cannot work, or two that would undo each other's changes."""
        self._specs: Mapping[str, SourceSpec] = app.sources
        owners: dict[str, str] = {}
        for name in app.sources:
            source = self._made(name)
            if not _NAME.fullmatch(name):
                raise Misconfigured(f"source {name!r}: a name has small letters, digits, dots, dashes, underscores")
            if not _CATEGORY.fullmatch(source.category) or source.category == "sync":
                raise Misconfigured(
                    f"source {name}: category {source.category!r} must have small letters, digits, dots and underscores "
                    "only, and not be sync"
                )
            if source.category in owners:
                raise Misconfigured(
                    f"sources {owners[source.category]} and {name} have category {source.category} both"
                )
            owners[source.category] = name

    def names(self) -> list[str]:
        """The names, sorted."""
        return sorted(self._specs)

    def make(self, name: str) -> Source:
        """A source, new for each run. Raises NotFound."""
        if name not in self._specs:
            raise NotFound(f"there is no source {name[:64]!r}; there are {', '.join(self.names()) or 'none'}")
        return self._made(name)

    def _made(self, name: str) -> Source:
        try:
            source: Source = self._specs[name].factory()
            lacks = [part for part in ("category", "key") if not isinstance(getattr(source, part, None), str)]
        except TypeError as error:
            raise Misconfigured(f"source {name}: {error}") from error
        if lacks or not callable(getattr(source, "load", None)):
            raise Misconfigured(f"source {name} lacks {', '.join(lacks) or 'load'}; derive it from nerv.sync.CsvSource")
        return source

    def row(self, name: str) -> dict[str, Any]:
        """What people should know of a source."""
        source = self.make(name)
        told = source.describe()
        return {
            "source": name,
            "category": source.category,
            "key": source.key,
            "kind": told.kind,
            "reads": list(told.inputs),
        }
