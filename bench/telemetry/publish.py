# SPDX-License-Identifier: Apache-2.0
"""One event a request to a broker, as suite *broker* measures it; all modes of a series in one process of it, window by window.

Two processes of one program differ by up to a tenth, by where things happen to lie in memory: more than tracing costs.
"""

import os
import signal
import tempfile
import time
from itertools import count, islice
from pathlib import Path

import uvloop
from rich.console import Console

from bench.broker.http_load import request
from bench.broker.serving import Server, serving
from bench.connection import answering, send
from bench.harness import progress
from bench.telemetry.windows import FILE, NAME, Noted

MODULE = "bench.telemetry.switching"
CONNECTIONS = 64
WARM = 40_000  # requests: of a Kafka just started the first cost twice what others do
STEP = 20_000  # after each of them it is told how far this is
LOOK_SECONDS = 0.05


def measure(bootstrap: str, topic: str, series: str, requests: int, console: Console) -> list[Noted]:
    """What a process of its own notes of so many requests."""
    path = f"/v1/topics/{topic}/events?guarantee=at-least-once"
    with tempfile.TemporaryDirectory(prefix="nerv-bench-") as folder:
        file = Path(folder, "noted")
        os.environ |= {NAME: series, FILE: str(file)}
        with serving("ours", bootstrap, topic, MODULE) as server:
            uvloop.run(_load(server, path, requests, f"broker, {series}", console))
            server.process.send_signal(signal.SIGUSR2)
            while not file.exists():
                time.sleep(LOOK_SECONDS)
        rows = [line.split() for line in file.read_text().splitlines()]
    return [Noted(float(cpu), int(came)) for cpu, came in rows]


async def _load(server: Server, path: str, requests: int, title: str, console: Console) -> None:
    numbers = count()  # none of them is known yet
    await answering(server.port, request(path, next(numbers), 1))
    with progress(console) as bar:
        task = bar.add_task(title, total=WARM + requests)

        async def some(number: int) -> None:
            asked = ((0.0, request(path, number, 1)) for number in islice(numbers, number))
            await send(server.port, [asked] * CONNECTIONS)  # each takes the next one

        for done in range(0, WARM + requests, STEP):
            if done == WARM:
                server.process.send_signal(signal.SIGUSR1)
            await some(STEP)
            bar.update(task, completed=done + STEP)
