# SPDX-License-Identifier: Apache-2.0
"""What `sync` keeps equal: sources of rows, and pairs of sides. diffsync is imported by `nerv.sync.adapters` alone."""

from nerv.sync.csv_source import CsvSource
from nerv.sync.errors import (
    DeletesUnconfirmed,
    LoadRefused,
    ParentsInCycle,
    PlanMoved,
    PlanUnapproved,
    RunUnderWay,
)
from nerv.sync.ndjson_source import NdjsonSource
from nerv.sync.pair import Pair
from nerv.sync.plan import Direction
from nerv.sync.rows import RowsSource

__all__ = [
    "CsvSource",
    "DeletesUnconfirmed",
    "Direction",
    "LoadRefused",
    "NdjsonSource",
    "Pair",
    "ParentsInCycle",
    "PlanMoved",
    "PlanUnapproved",
    "RowsSource",
    "RunUnderWay",
]
