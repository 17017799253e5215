# SPDX-License-Identifier: Apache-2.0
"""What a sync can stand between: rows in memory, a source of rows, streams of a history, views of a projector."""

from nerv.sync.sides.feed import ChangeLog
from nerv.sync.sides.history import HistorySide
from nerv.sync.sides.mapping import MappingSide
from nerv.sync.sides.source import SourceSide
from nerv.sync.sides.view import ViewSide

__all__ = ["ChangeLog", "HistorySide", "MappingSide", "SourceSide", "ViewSide"]
