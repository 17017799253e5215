# SPDX-License-Identifier: Apache-2.0
"""Ours: `EventBus.send` to one subscriber, past so many middlewares. Prints sends a second."""

import sys
import time

from nerv.bus import EventBus
from nerv.types import Event, utc_now


def main(count: int, middlewares: int) -> float:
    """Sends a second."""
    heard = 0

    def hear(event: Event[int]) -> None:
        nonlocal heard
        heard += 1

    def passing(event: Event[int]) -> Event[int]:
        return event

    bus = EventBus(middleware=[passing] * middlewares)
    bus.subscribe("bench.noted.v1", hear)
    event = Event("1", "bench", "bench.noted.v1", utc_now(), 1)
    began = time.perf_counter()
    for _ in range(count):
        bus.send(event)
    seconds = time.perf_counter() - began
    assert heard == count
    return count / seconds


if __name__ == "__main__":
    sys.stdout.write(f"{main(int(sys.argv[1]), int(sys.argv[2]))}\n")
