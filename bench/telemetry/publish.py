# SPDX-License-Identifier: Apache-2.0
"""One event a request to a broker, as suite *broker* measures it; all modes in one process of it, turn by turn.

Two processes of one program differ by up to a tenth, by where things happen to lie in memory: more than tracing costs.
"""

import asyncio
import signal
from collections import defaultdict
from pathlib import Path

from rich.console import Console

from bench.broker.http_load import lane, request
from bench.broker.serving import Server
from bench.connection import answering, send
from bench.harness import progress
from bench.telemetry.modes import KEPT_SECONDS, TURNS, Mode

WARM = 16  # turns: of a Kafka just started the first cost twice what others do


async def measure(
    server: Server, path: str, requests: int, connections: int, rounds: int, console: Console
) -> dict[Mode, list[float]]:
    """Of each mode and round the microseconds of CPU that a request took."""
    found: dict[Mode, list[float]] = defaultdict(list)
    sent = 1
    await answering(server.port, request(path, 0, 1))

    async def turn() -> float:
        nonlocal sent
        numbers, before = (sent, 1), cpu(server)
        await send(server.port, [lane(path, n, connections, requests, numbers, 0.0, 0.0) for n in range(connections)])
        sent += requests  # none of them is known yet
        await asyncio.sleep(KEPT_SECONDS)
        return (cpu(server) - before) / requests

    for _ in range(WARM):
        await turn()
    with progress(console) as bar:
        task = bar.add_task("broker", total=rounds * len(TURNS))
        for _ in range(rounds):
            for mode in TURNS:
                server.process.send_signal(signal.SIGUSR1)
                await asyncio.sleep(0.05)
                found[mode].append(await turn())
                bar.update(task, advance=1, description=f"broker: {mode} {found[mode][-1]:.1f} us")
    return found


def cpu(server: Server) -> float:
    """Microseconds that all threads of the server have run: finer than the hundredths of a second that processes are given."""
    tasks = Path(f"/proc/{server.process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1000
