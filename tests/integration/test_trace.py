# SPDX-License-Identifier: Apache-2.0
"""One trace goes through all five services: over HTTP, Kafka headers and Redis entries."""

import csv
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
import pytest_asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from flights.data import data_folder, events_of, load_flights
from nerv.client import Client
from nerv.client.client import SERVICES
from nerv.dev.mesh import LocalMesh
from nerv.telemetry import Sampling, span, tracing
from nerv.testing.otlp import Receiver
from nerv.types import Event, new_event_id

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def traced() -> Iterator[None]:
    """Spans in this process, too, so that there is a root; they are exported by nobody."""
    trace.set_tracer_provider(TracerProvider())
    tracing.turn_on(Sampling(1.0))
    yield
    tracing.turn_on(None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    """Where the services export to."""
    async with Receiver() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(
    kafka: str, redis_url: str, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LocalMesh]:
    """All five services with the flights app, which has one of everything."""
    folder = tmp_path_factory.mktemp("trace")
    with (folder / "airlines.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["carrier", "name"])
        writer.writerow(["UA", "United Air Lines Inc."])
    async with LocalMesh(
        app="flights:app",
        folder=folder / ".nerv",
        mesh=f"t{uuid.uuid4().hex[:8]}",
        kafka=kafka,
        redis=redis_url,
        env={
            "FLIGHTS_DATA": str(folder),
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        },
    ) as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)


async def test_one_trace_holds_spans_of_all_five_services(traced: None, mesh: LocalMesh, receiver: Receiver) -> None:
    """A sync run, a published event that a reaction appends and a projection folds, and a workflow: one trace id."""
    async with Client({name: mesh.url(name) for name in SERVICES}) as client:
        with span("test", begin=True) as root:
            trace_id = f"{root.get_span_context().trace_id:032x}"
            synced = await client.syncs.run("airlines")
            assert synced["summary"]["create"] == 1
            published = await client.topics.publish("flights.flight.v1", [departure()])
            assert len(published) == 1
            await client.workflows.start("monthly-report", {"year": "2013"})
        wanted = set(SERVICES)
        assert await receiver.until(lambda: receiver.services(trace_id) >= wanted, 60), receiver.services(trace_id)

        def names() -> set[str]:
            return {f"{s.service}: {s.name.split(' ')[0]}" for s in receiver.of_trace(trace_id)}

        hops = {"broker: send", "broker: process", "temporal: commit", "projector: process"}
        assert await receiver.until(lambda: hops <= names(), 60), names()


async def test_spans_carry_the_conventions(mesh: LocalMesh, receiver: Receiver) -> None:
    """The spans of Kafka's hops name system, destination and operation."""
    sent = [s for s in receiver.spans if s.service == "broker" and s.name.startswith("send ")]
    processed = [s for s in receiver.spans if s.service == "broker" and s.name.startswith("process ")]
    assert sent
    assert processed
    for found, operation in ((sent[0], "send"), (processed[0], "process")):
        assert found.attributes["messaging.system"] == "kafka"
        assert found.attributes["messaging.destination.name"] == "flights.flight.v1"
        assert found.attributes["messaging.operation.type"] == operation
    assert processed[0].attributes["messaging.consumer.group.name"] == f"{mesh.mesh}.broker"


def departure() -> Event[bytes]:
    """The first departure of the year, under an id of its own."""
    flight = next(flight for flight in load_flights(data_folder(), [1])[1] if flight.departed is not None)
    return replace(events_of(flight)[0], id=new_event_id())
