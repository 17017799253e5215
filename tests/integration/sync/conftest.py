# SPDX-License-Identifier: Apache-2.0
"""A mesh with temporal and two replicas of sync, for all tests of this folder; each test has a source of its own."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.telemetry.names import SYNC_KIND

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the CSV files."""
    return tmp_path_factory.mktemp("fleet")


class Collector:
    """Takes spans over OTLP, as a collector does: `(service, name)` of each, by trace id; and what kind of objects it says."""

    def __init__(self) -> None:
        self.url = ""
        self.spans: dict[str, list[tuple[str, str]]] = {}
        self.kinds: dict[tuple[str, str], str] = {}  # by trace id and name

    async def take(self, request: web.Request) -> web.Response:
        """POST /v1/traces."""
        for part in ExportTraceServiceRequest.FromString(await request.read()).resource_spans:
            service = {a.key: a.value.string_value for a in part.resource.attributes}["service.name"]
            for scope in part.scope_spans:
                for span in scope.spans:
                    trace = span.trace_id.hex()
                    self.spans.setdefault(trace, []).append((service, span.name))
                    told = {a.key: a.value.string_value for a in span.attributes}
                    self.kinds[trace, span.name] = told.get(SYNC_KIND, "")
        return web.Response()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def collector() -> AsyncIterator[Collector]:
    """Where the services of the mesh export their spans to."""
    taken = Collector()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v1/traces", taken.take)
    runner = web.AppRunner(app, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    taken.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield taken
    await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(
    kafka: str, redis_url: str, data: Path, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LocalMesh]:
    """What runs."""
    async with LocalMesh(
        app="fleet:app",
        services=["temporal", "sync"],
        replicas={"sync": 2},
        folder=tmp_path_factory.mktemp("sync") / ".nerv",
        mesh=f"t{uuid.uuid4().hex[:8]}",
        kafka=kafka,
        redis=redis_url,
        env={
            "PYTHONPATH": str(HERE),
            "FLEET_DATA": str(data),
            "NERV_SYNC__SILENCE_SECONDS": "3",
            "NERV_SYNC__HEARTBEAT_SECONDS": "0.5",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/v1/traces",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        },
        persist=True,
    ) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(mesh: LocalMesh) -> AsyncIterator[Client]:
    """The client, to the first replica."""
    async with Client({"temporal": mesh.url("temporal"), "sync": mesh.url("sync")}) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def other(mesh: LocalMesh) -> AsyncIterator[Client]:
    """The client, to the second replica."""
    async with Client({"temporal": mesh.url("temporal"), "sync": mesh.url("sync-2")}) as client:
        yield client
