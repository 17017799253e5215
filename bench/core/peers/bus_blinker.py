# SPDX-License-Identifier: Apache-2.0
"""The peer: blinker's `send` to one receiver, as its documentation does it. Prints sends a second."""

import sys
import time

from blinker import signal


def main(count):
    """Sends a second."""
    heard = 0

    def hear(sender):
        nonlocal heard
        heard += 1

    noted = signal("bench.noted.v1")
    noted.connect(hear)
    event = object()
    began = time.perf_counter()
    for _ in range(count):
        noted.send(event)
    seconds = time.perf_counter() - began
    assert heard == count
    return count / seconds


if __name__ == "__main__":
    sys.stdout.write(f"{main(int(sys.argv[1]))}\n")
