# SPDX-License-Identifier: Apache-2.0
"""One event a request to a broker, as suite *broker* measures it; all modes of a series in one process of it, window by window.

Two processes of one program differ by up to a tenth, by where things happen to lie in memory: more than tracing costs.
"""

import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop
from rich.console import Console

from bench.broker.http_load import request
from bench.broker.serving import Server, serving
from bench.connection import answering, send
from bench.harness import progress
from bench.telemetry.switching import FILE, NAME
from bench.telemetry.windows import Noted
from nerv.errors import Misconfigured

MODULE = "bench.telemetry.switching"
CONNECTIONS = 64
WARM = 40_000  # requests: of a Kafka just started the first cost twice what others do
STEP = 1_000  # after so many it is told how far this is
NOTE_SECONDS = 10.0
LOOK_SECONDS = 0.05


def measure(bootstrap: str, topic: str, series: str, requests: int, console: Console) -> list[Noted]:
    """What a process of its own notes of so many requests."""
    path = f"/v1/topics/{topic}/events?guarantee=at-least-once"
    with tempfile.TemporaryDirectory(prefix="nerv-bench-") as folder:
        file = Path(folder, "noted")
        with serving("ours", bootstrap, topic, MODULE, {NAME: series, FILE: str(file)}) as server:
            uvloop.run(_load(server, path, requests, f"broker, {series}", console))
            server.process.send_signal(signal.SIGUSR2)
            late = time.monotonic() + NOTE_SECONDS
            while not file.exists():
                if time.monotonic() > late:
                    raise Misconfigured(f"the broker has not told what {series} took; its own last words say why")
                time.sleep(LOOK_SECONDS)
        rows = [line.split() for line in file.read_text().splitlines()]
    return [Noted(float(cpu), int(came)) for cpu, came in rows]


async def _load(server: Server, path: str, requests: int, title: str, console: Console) -> None:
    await answering(server.port, request(path, 0, 1))
    with progress(console) as bar:
        task = bar.add_task(title, total=WARM + requests)

        def asked(numbers: range) -> Iterator[tuple[float, bytes]]:
            for number in numbers:
                if not number % STEP:
                    bar.update(task, completed=number)
                yield 0.0, request(path, number, 1)

        # Each connection takes the next one of all.
        await send(server.port, [asked(range(1, WARM))] * CONNECTIONS)
        server.process.send_signal(signal.SIGUSR1)
        await send(server.port, [asked(range(WARM, WARM + requests))] * CONNECTIONS)
        bar.update(task, completed=WARM + requests)
