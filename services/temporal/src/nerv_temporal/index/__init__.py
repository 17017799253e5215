# SPDX-License-Identifier: Apache-2.0
"""The index: every committed event of every partition in RocksDB, on this machine, rebuildable from Kafka."""

from nerv_temporal.index.keys import Place
from nerv_temporal.index.rows import Row, read_row, row_of
from nerv_temporal.index.store import Index, PartitionState

__all__ = ["Index", "PartitionState", "Place", "Row", "read_row", "row_of"]
