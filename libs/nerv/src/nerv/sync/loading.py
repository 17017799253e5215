# SPDX-License-Identifier: Apache-2.0
"""Load a source whole, or refuse: a failed, empty or partial load never changes anything (rule 19)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from nerv.errors import NervError
from nerv.protocols.source import Complete, Row, Source
from nerv.sync.errors import LoadRefused
from nerv.types import check_id

Check = Callable[[], None]
"""Called again and again by what blocks; raises when it is to stop."""


def go_on() -> None:
    """A check that never stops anything."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A complete load: the rows by key, and the instant at which the source was so."""

    rows: dict[str, Row]
    instant: datetime


def load_whole(source: Source, limit: int, check: Check = go_on) -> Loaded:
    """Every row of a source, at most `limit`, proven complete by its marker. Blocks. Raises LoadRefused."""
    rows: dict[str, Row] = {}
    marker: Complete | None = None
    for item in _items(source):
        check()
        if marker is not None:
            raise LoadRefused("the source went on after it had said that it was complete; nothing was changed")
        if isinstance(item, Complete):
            marker = item
            continue
        if len(rows) >= limit:
            raise LoadRefused(f"the source has more than {limit} rows; raise NERV_SYNC__ROWS if that is right")
        _check(item, rows.get(item.key), source.category)
        rows[item.key] = item
    return Loaded(rows, _proven(marker, len(rows)))


def _items(source: Source) -> Iterator[Row | Complete]:
    try:
        yield from source.load()
    except NervError:
        raise
    except Exception as error:
        # A source is an app's code: whatever it raises, the load has failed and nothing may be changed.
        raise LoadRefused(f"the source broke off: {type(error).__name__}: {error}") from error


def _check(row: Row, twin: Row | None, category: str) -> None:
    if twin is not None:
        raise LoadRefused(f"{row.place}: key {row.key!r} is there already, at {twin.place}; keys must be unique")
    try:
        check_id(f"{category}-{row.key}", "the stream of this key")
    except NervError as error:
        raise LoadRefused(f"{row.place}: key {row.key[:40]!r}: {error.detail}") from None


def _proven(marker: Complete | None, count: int) -> datetime:
    if marker is None:
        raise LoadRefused("the source ended without its mark of completeness, so the load may be partial")
    if marker.rows != count:
        raise LoadRefused(f"the source says that it has {marker.rows} rows, and gave {count}")
    if count == 0:
        raise LoadRefused("the source is empty; an empty load never deletes anything")
    return marker.instant
