# SPDX-License-Identifier: Apache-2.0
"""The collector's configuration, read and obeyed by a real collector: of many traces it keeps those that the file says."""

import asyncio
import os
import secrets
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from rich.console import Console

from nerv.testing.otlp import Receiver
from tests.observability.binaries import MissingError
from tests.observability.prometheus import HOST, free_port

OTEL = Path(__file__).parent.parent.parent / "deploy/otel"
BUILD = OTEL.parent / "check/build-go.sh"
CONFIG = OTEL / "collector.yml"
WAIT = "2s"  # for the rest of a trace, in place of the file's
START_SECONDS, ARRIVE_SECONDS = 60.0, 60.0
USUAL, SHARE = 1000, 0.10
# Of so many, each kept with that chance: outside of this once in more than a million runs.
FEW, MANY = 50, 155


class BadConfigError(Exception):
    """The collector refuses its configuration; says why."""


async def check(screen: Console, only: Sequence[str] = ()) -> int:
    """0 when the collector takes its configuration, and keeps errors, what is slow, and a share of the rest; else 1."""
    collector = await asyncio.to_thread(_collector)
    async with Receiver() as receiver:
        health, listen = free_port(), free_port()
        env = os.environ | {
            "NERV_COLLECTOR_LISTEN": f"{HOST}:{listen}",
            "NERV_COLLECTOR_HEALTH": f"{HOST}:{health}",
            "NERV_COLLECTOR_EXPORT": receiver.url,
            "NERV_COLLECTOR_WAIT": WAIT,
        }
        async with _running(collector, env, f"http://{HOST}:{health}") as session:
            bad, slow = _trace(error=True), _trace(seconds=5.0)
            usual = [_trace() for _ in range(USUAL)]
            await _send(session, f"http://{HOST}:{listen}/v1/traces", [bad, slow, *usual])
            wanted = {bad.trace_id.hex(), slow.trace_id.hex()}
            await receiver.until(lambda: wanted <= {one.trace_id for one in receiver.spans}, ARRIVE_SECONDS)
            await asyncio.sleep(float(WAIT.removesuffix("s")))  # the last of them are decided, too
    kept = {one.trace_id for one in receiver.spans}
    share = len(kept - wanted)
    good = wanted <= kept and FEW <= share <= MANY
    told = f"kept {len(wanted & kept)} of 2 traces with an error or slow, and {share} of {USUAL} others ({SHARE:.0%} are wanted)"
    screen.print(f"collector.yml is valid; {told}", style=None if good else "red", highlight=False)
    return 0 if good else 1


def _collector() -> str:
    """A collector of the components that the file names, built once (minutes). Raises BadConfigError where it refuses."""
    built = subprocess.run([BUILD, OTEL / "check", "collector", "."], stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode != 0:
        raise MissingError("the collector cannot be built; the lines above say why")
    program = built.stdout.strip()
    told = subprocess.run([program, "validate", f"--config={CONFIG}"], capture_output=True, text=True, check=False)
    if told.returncode != 0:
        raise BadConfigError(f"{CONFIG}: {told.stderr}")
    return program


@asynccontextmanager
async def _running(program: str, env: dict[str, str], health: str) -> AsyncIterator[aiohttp.ClientSession]:
    process = await asyncio.create_subprocess_exec(program, f"--config={CONFIG}", env=env, stderr=subprocess.DEVNULL)
    try:
        async with aiohttp.ClientSession() as session, asyncio.timeout(START_SECONDS + ARRIVE_SECONDS):
            while not await _healthy(session, health):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
            yield session
    finally:
        process.terminate()
        await process.wait()


async def _healthy(session: aiohttp.ClientSession, url: str) -> bool:
    with suppress(aiohttp.ClientError):
        async with session.get(url) as answer:
            return answer.status == 200
    return False


def _trace(*, seconds: float = 0.01, error: bool = False) -> Span:
    end = time.time_ns()
    span = Span(trace_id=secrets.token_bytes(16), span_id=secrets.token_bytes(8), name="work", end_time_unix_nano=end)
    span.start_time_unix_nano = end - int(seconds * 1e9)
    if error:
        span.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR))
    return span


async def _send(session: aiohttp.ClientSession, url: str, spans: Sequence[Span]) -> None:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.extend(spans)
    async with session.post(
        url, data=request.SerializeToString(), headers={"content-type": "application/x-protobuf"}
    ) as answer:
        answer.raise_for_status()
