# SPDX-License-Identifier: Apache-2.0
"""One trace through all of it. Without a collector of the user's, the demo collects the spans itself and checks them."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

from flights.demo.collector import Collector
from flights.demo.job import Job
from nerv.client.client import SERVICES
from nerv.telemetry import enabled, span, telemetry
from nerv.telemetry.setup import wanted

NAME = "flights-demo"
ARRIVE_SECONDS = 30.0  # spans are exported once a second, and a busy machine is late

# Read by the SDK of every service, and of this process. A second is soon enough for a demo to show what it has seen.
EXPORT = {"OTEL_BSP_SCHEDULE_DELAY": "1000"}


@dataclass(slots=True)
class Tracing:
    """The trace of this demo. `collector` is None when the spans go to the user's own."""

    collector: Collector | None
    trace_id: str = ""

    @contextmanager
    def root(self, name: str) -> Iterator[None]:
        """The span that everything in the block is under."""
        with span(name) as current:
            trace_id = current.get_span_context().trace_id
            self.trace_id = f"{trace_id:032x}"
            if self.collector is not None:
                self.collector.follow(trace_id)
            yield

    async def check(self, job: Job) -> None:
        """Show the trace, and hold it against what it must have: spans of all five services."""
        if not enabled():
            job.screen.print("tracing is turned off by OTEL_SDK_DISABLED or OTEL_TRACES_EXPORTER: there is no trace")
            return
        if self.collector is None:
            job.screen.print(f"trace {self.trace_id}: its spans went where OTEL_EXPORTER_OTLP_* says")
            return
        missing = await self.collector.seen(frozenset(SERVICES), ARRIVE_SECONDS)
        spans = ", ".join(f"{service} {count:,}" for service, count in sorted(self.collector.spans.items()))
        job.screen.print(f"trace {self.trace_id}: spans of {spans}")
        job.expect("services without a span in the trace", sorted(missing), [])


@asynccontextmanager
async def traced() -> AsyncIterator[Tracing]:
    """Export spans while the block runs, of this process and of those it starts, which inherit its environment."""
    async with AsyncExitStack() as stack:
        collector = None
        if not wanted():
            collector = await stack.enter_async_context(Collector())
            stack.enter_context(_environment({**EXPORT, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}))
        exporting = telemetry(NAME, str(os.getpid()))
        exporting.__enter__()
        # What is buffered goes out at the end, to a collector that this loop may serve: not in its thread.
        stack.push_async_callback(asyncio.to_thread, exporting.__exit__, None, None, None)
        yield Tracing(collector)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
