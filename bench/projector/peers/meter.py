# SPDX-License-Identifier: Apache-2.0
"""Counts the events of a peer; at the last one it prints CPU seconds a million events and events a second, and ends all."""

import gc
import os
import time

from bench.broker.records import COLLECTOR

WARM = 1000  # events that are not counted: its first ones are slow


class Meter:
    """Call `tick` for each event."""

    def __init__(self, count):
        gc.set_threshold(*COLLECTOR)
        self.count, self.seen = count, 0

    def tick(self):
        """One more."""
        self.seen += 1
        if self.seen == WARM:
            self.began, self.cpu = time.perf_counter(), time.process_time()
        elif self.seen == self.count:
            seconds, cpu = time.perf_counter() - self.began, time.process_time() - self.cpu
            counted = self.count - WARM
            # Not by `print`: Faust takes standard output for its log.
            os.write(1, f"\n{cpu / counted * 1e6} {counted / seconds}\n".encode())
            os._exit(0)  # how long a peer takes to leave its group is not measured
