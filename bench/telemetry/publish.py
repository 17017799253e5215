# SPDX-License-Identifier: Apache-2.0
"""`MODE BOOTSTRAP REDIS TOPIC REQUESTS CONNECTIONS`: one event a request to a broker, as suite *broker* measures it.

Prints CPU seconds of the server for a million events, and events a second.
"""

import asyncio
import sys

import uvloop

from bench.broker.http_load import TURN_SECONDS, load
from bench.broker.serving import serving
from bench.telemetry.modes import Mode, enter


def measure(mode: Mode, bootstrap: str, redis: str, topic: str, requests: int, connections: int) -> list[float]:
    """The figures."""
    enter(mode, redis)
    path = f"/v1/topics/{topic}/events?guarantee=at-least-once"
    with serving(
        "ours", bootstrap, topic, "bench.telemetry.hookless" if mode is Mode.NONE else "nerv_broker"
    ) as server:
        work = load(server, path, requests, 1, connections, 0.0)
        rate, cpu, *_ = uvloop.run(asyncio.wait_for(work, TURN_SECONDS))
    return [cpu, rate]


if __name__ == "__main__":
    mode, bootstrap, redis, topic, requests, connections = sys.argv[1:]
    figures = measure(Mode(mode), bootstrap, redis, topic, int(requests), int(connections))
    sys.stdout.write(" ".join(map(str, figures)) + "\n")
