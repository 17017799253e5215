# SPDX-License-Identifier: Apache-2.0
"""`BOOTSTRAP REDIS MESH PROJECTION REPLICAS`: fold all of history into empty views by so many replicas, each a process.

They share the partitions before they begin. Prints CPU seconds a million events, of all together, and events a second.
"""

import asyncio
import subprocess
import sys
import time

import structlog
import uvloop

from bench.projector.events import PARTITIONS
from bench.projector.ours_fold import caught_up, hosted, settings_for, wipe
from nerv.errors import Unavailable
from nerv.redis import RedisSettings, connect
from nerv_projector.app import Wiring
from nerv_projector.control import ControlTopic
from nerv_projector.control import model as control
from nerv_projector.views import RedisViews

LOOK_SECONDS = 0.02
SHARE_SECONDS = 60.0
FOLD_SECONDS = 240.0
DECIDE_SECONDS = 90.0


async def replica(bootstrap: str, redis: str, mesh: str, projection: str, share: int) -> None:
    """One of them: says when it has its share, folds when it is told to, and says in the end what that took of the CPU."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # what is said on the other is answers
    async with hosted(bootstrap, redis, mesh, projection) as wiring:
        async with asyncio.timeout(SHARE_SECONDS):
            while len(wiring.hub().owned) != share:  # noqa: ASYNC110 - the group tells the hub alone
                await asyncio.sleep(LOOK_SECONDS)
        sys.stdout.write("shares\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        cpu = time.process_time()
        await asyncio.to_thread(sys.stdin.readline)
        sys.stdout.write(f"{time.process_time() - cpu}\n")
        sys.stdout.flush()


def _started(command: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _all(processes: list["subprocess.Popen[str]"], word: str) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(f"{word}\n")
        process.stdin.flush()


def _answers(processes: list["subprocess.Popen[str]"]) -> list[str]:
    return [process.stdout.readline() for process in processes if process.stdout is not None]


async def measure(bootstrap: str, redis: str, mesh: str, projection: str, replicas: int) -> list[float]:
    """The figures."""
    await wipe(redis, mesh)
    wiring = Wiring(settings=settings_for(bootstrap, redis, mesh))
    share = PARTITIONS // replicas
    command = [sys.executable, "-m", "bench.projector.replicas", bootstrap, redis, mesh, projection, f"of-{share}"]
    async with wiring.control() as decisions, wiring.watermarks():
        await _decided(decisions, projection, control.pause)
        processes = [_started(command) for _ in range(replicas)]
        try:
            shared = await asyncio.to_thread(_answers, processes)
            assert all(line == "shares\n" for line in shared), shared
            _all(processes, "fold")
            began = time.perf_counter()
            await _decided(decisions, projection, control.resume)
            folded = await _folded(wiring, redis, mesh, projection)
            seconds = time.perf_counter() - began
            _all(processes, "stop")
            spent = sum(map(float, await asyncio.to_thread(_answers, processes)))
        finally:
            await _decided(decisions, projection, control.resume)
            for process in processes:
                process.terminate()
                process.wait()
    return [spent / folded * 1e6, folded / seconds]


async def _decided(decisions: ControlTopic, projection: str, step: control.Step) -> None:
    """Have a decision stand. It is repeated, as clients of the service do: Kafka may not take it while the machine stalls."""
    async with asyncio.timeout(DECIDE_SECONDS):
        while True:
            try:
                await decisions.decide(projection, step)
                return
            except Unavailable as error:
                sys.stderr.write(f"{error}\n")
                await asyncio.sleep(LOOK_SECONDS)


async def _folded(wiring: Wiring, redis: str, mesh: str, projection: str) -> int:
    """Wait until all of history is folded; answers how many events that were."""
    client = connect(RedisSettings(url=redis), "bench")
    views = RedisViews(client, mesh, projection)
    async with asyncio.timeout(FOLD_SECONDS):
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            epoch = await views.epoch()
            if epoch is not None and await caught_up(views, epoch, wiring.watermarks(), wiring.settings().history):
                break
    folded = (await views.progress(epoch)).folded
    await client.aclose()
    return folded


if __name__ == "__main__":
    bootstrap, redis, mesh, projection, number = sys.argv[1:]
    if number.startswith("of-"):
        uvloop.run(replica(bootstrap, redis, mesh, projection, int(number.removeprefix("of-"))))
    else:
        figures = uvloop.run(measure(bootstrap, redis, mesh, projection, int(number)))
        sys.stdout.write(" ".join(map(str, figures)) + "\n")
