# SPDX-License-Identifier: Apache-2.0
"""What both sides send and read: records of 256 bytes with five headers. Plain Python: peers import this, too."""

import time

# How often the collector looks for circles: as the mesh's services set it, and for the peers alike.
COLLECTOR = (300_000, 20, 100)
HEADERS = [
    ("ce_specversion", b"1.0"),
    ("ce_type", b"bench.noted.v1"),
    ("ce_source", b"bench"),
    ("content-type", b"application/json"),
]
VALUE = b'{"n": 1, "text": "%s"}' % (b"x" * 230)
BATCH = 500  # records that wait together
IN_FLIGHT = 24  # such batches at the same time: an eighth of what the bare loop has in flight
TAKEN = 5000  # records in one batch of a consumer


class Stopwatch:
    """Time and CPU of this process, all its threads, from when it is made."""

    def __init__(self) -> None:
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def figures(self, count: int) -> str:
        """Of so many records: CPU seconds for a million of them, and how many a second, as a program prints it."""
        seconds, cpu = time.perf_counter() - self._began, time.process_time() - self._cpu
        return f"{cpu / count * 1e6} {count / seconds}"
