# SPDX-License-Identifier: Apache-2.0
"""One trace through all of it. Without a collector of the user's, the demo collects the spans itself and checks them."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

from flights.demo.job import Job
from nerv.client.client import SERVICES
from nerv.telemetry import enabled, span, telemetry
from nerv.telemetry.setup import TRACES, wanted
from nerv.testing.otlp import Receiver

NAME = "flights-demo"
ARRIVE_SECONDS = 30.0  # spans are exported once a second, and a busy machine is late

# Read by the SDK of every service, and of this process. A second is soon enough for a demo to show what it has seen. The
# trace of the demo is recorded in any case.
EXPORT = {"OTEL_BSP_SCHEDULE_DELAY": "1000", "OTEL_TRACES_SAMPLER": "parentbased_always_on"}


@dataclass(slots=True)
class Tracing:
    """The trace of this demo. `receiver` is None when the spans go to the user's own collector."""

    receiver: Receiver | None
    trace_id: str = ""

    @contextmanager
    def root(self, name: str) -> Iterator[None]:
        """The span that everything in the block is under."""
        with span(name, begin=True) as current:
            self.trace_id = f"{current.get_span_context().trace_id:032x}"
            yield

    async def check(self, job: Job) -> None:
        """Show the trace, and hold it against what it must have: spans of all five services."""
        if not enabled():
            job.screen.print("tracing is turned off by OTEL_SDK_DISABLED or OTEL_TRACES_EXPORTER: there is no trace")
            return
        if self.receiver is None:
            job.screen.print(f"trace {self.trace_id}: its spans went where OTEL_EXPORTER_OTLP_* says")
            return
        receiver, wanted_ones = self.receiver, set(SERVICES)
        await receiver.until(lambda: wanted_ones <= receiver.services(self.trace_id), ARRIVE_SECONDS)
        counts = Counter(one.service for one in receiver.of_trace(self.trace_id))
        spans = ", ".join(f"{service} {count:,}" for service, count in sorted(counts.items()))
        job.screen.print(f"trace {self.trace_id}: spans of {spans}")
        job.expect("services without a span in the trace", sorted(wanted_ones - counts.keys()), [])


@asynccontextmanager
async def traced() -> AsyncIterator[Tracing]:
    """Export spans while the block runs, of this process and of those it starts, which inherit its environment."""
    async with AsyncExitStack() as stack:
        receiver = None
        if not wanted(TRACES):
            receiver = await stack.enter_async_context(Receiver())
            stack.enter_context(_environment({**EXPORT, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": receiver.traces}))
        exporting = telemetry(NAME, str(os.getpid()))
        exporting.__enter__()
        # What is buffered goes out at the end, to a receiver that this loop may serve: not in its thread.
        stack.push_async_callback(asyncio.to_thread, exporting.__exit__, None, None, None)
        yield Tracing(receiver)


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
