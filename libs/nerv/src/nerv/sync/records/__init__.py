# SPDX-License-Identifier: Apache-2.0
"""Where digests and agreements are kept: in memory, in a RocksDB folder that outlives the process, in Redis for all replicas."""

from nerv.sync.records.memory import MemoryRecords

__all__ = ["MemoryRecords"]
