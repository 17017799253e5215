# SPDX-License-Identifier: Apache-2.0
"""How RocksDB keeps the index: the newest in LZ4, all that was compacted in zstd, in blocks of neighbouring events (ADR 5)."""

import re

from rocksdict import BlockBasedOptions, DBCompressionType, Options

BLOOM_BITS = 10.0  # a look for an id that is not there, the ordinary case, then reads no block
BLOCK_BYTES = 16 * 1024  # some 50 events; 4 KiB makes the index a third larger, 64 KiB only a tenth smaller
BUFFER_BYTES = 32 * 1024 * 1024  # in memory, before it is written out as a file of level 0
BUFFERS = 4  # while one is written out others fill: a write that waits for the disk makes the whole replica wait
LEVELS = 7
LOGS = 3  # of RocksDB's own, for people


def options(*, counted: bool = False) -> Options:
    """The options. With `counted`, RocksDB counts what it does, which costs some time."""
    found = Options(raw_mode=True)
    found.create_if_missing(True)
    table = BlockBasedOptions()
    table.set_bloom_filter(BLOOM_BITS, False)
    table.set_block_size(BLOCK_BYTES)
    found.set_block_based_table_factory(table)
    found.set_compression_per_level([DBCompressionType.lz4(), *[DBCompressionType.zstd()] * (LEVELS - 1)])
    found.set_write_buffer_size(BUFFER_BYTES)
    found.set_max_write_buffer_number(BUFFERS)
    found.set_allow_concurrent_memtable_write(False)  # one thread writes; for several, each write costs a tenth more
    found.set_keep_log_file_num(LOGS)
    if counted:
        found.enable_statistics()
    return found


def counter(counted: Options, name: str) -> int:
    """One of RocksDB's counters, by its name without `rocksdb.`; 0 where nothing is counted."""
    found = re.search(rf"^rocksdb\.{re.escape(name)} COUNT : (\d+)$", counted.get_statistics() or "", re.M)
    return int(found[1]) if found else 0
