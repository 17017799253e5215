# SPDX-License-Identifier: Apache-2.0
"""The ideal, measured: the same skewed units, dealt out evenly beforehand to two bare processes: `PAIRS RUNS`.

Nothing is scheduled and nothing is sent but a word to begin and a word at the end. Prints units a second, the best run.
"""

import multiprocessing
import sys
import time
from multiprocessing.connection import Connection

from bench.core.partition_graph import PROCESSES, heavy, light


def half(pairs: int, connection: Connection) -> None:
    """Whenever told to, run this process's share."""
    connection.send("ready")
    while connection.recv():
        for _ in range(pairs // PROCESSES):
            heavy()
            light()
        connection.send("done")


def main(pairs: int, runs: int) -> float:
    """Units a second of the best run."""
    context = multiprocessing.get_context("forkserver")
    ends = []
    for _ in range(PROCESSES):
        ours, theirs = context.Pipe()
        context.Process(target=half, args=(pairs, theirs), daemon=True).start()
        ends.append(ours)
    best = float("inf")
    for end in ends:
        end.recv()
    for _ in range(runs):
        began = time.perf_counter()
        for end in ends:
            end.send(True)
        for end in ends:
            end.recv()
        best = min(best, time.perf_counter() - began)
    return 2 * (pairs // PROCESSES) * PROCESSES / best


if __name__ == "__main__":
    sys.stdout.write(f"{main(int(sys.argv[1]), int(sys.argv[2]))}\n")
