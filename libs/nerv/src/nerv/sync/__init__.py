# SPDX-License-Identifier: Apache-2.0
"""Sources of `sync` and what compares them with history. diffsync is imported by `nerv.sync.adapters` alone."""

from nerv.sync.csv_source import CsvSource
from nerv.sync.errors import DeletesUnconfirmed, LoadRefused, RunUnderWay
from nerv.sync.rows import RowsSource

__all__ = ["CsvSource", "DeletesUnconfirmed", "LoadRefused", "RowsSource", "RunUnderWay"]
