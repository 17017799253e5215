# SPDX-License-Identifier: Apache-2.0
"""What a sync can stand between: rows in memory, a source of rows, files, systems of HTTP, streams of a history, views.

Apart, for they need more packages or another process: `nerv.sync.sides.sql` and `nerv.sync.sides.topic`.
"""

from nerv.sync.sides.feed import ChangeLog
from nerv.sync.sides.files import FileSide
from nerv.sync.sides.history import HistorySide
from nerv.sync.sides.mapping import MappingSide
from nerv.sync.sides.paged import Page, PagedSource
from nerv.sync.sides.source import SourceSide
from nerv.sync.sides.view import ViewSide

__all__ = ["ChangeLog", "FileSide", "HistorySide", "MappingSide", "Page", "PagedSource", "SourceSide", "ViewSide"]
