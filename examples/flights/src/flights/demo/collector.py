# SPDX-License-Identifier: Apache-2.0
"""A small OTLP/HTTP collector in this process: it counts the spans of one trace by the service that they come from."""

import asyncio
from collections import Counter
from types import TracebackType
from typing import Self

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

MOST_BYTES = 16 * 1024 * 1024  # of one export; the SDK sends 512 spans at a time


class Collector:
    """`async with Collector() as collector:` - exporters send to `collector.url`; `follow` a trace before its spans come."""

    def __init__(self) -> None:
        self.url = ""
        self.spans: Counter[str] = Counter()
        self._trace = b""
        self._changed = asyncio.Condition()
        app = web.Application(client_max_size=MOST_BYTES)
        app.router.add_post("/v1/traces", self._export)
        self._runner = web.AppRunner(app, access_log=None)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    def follow(self, trace_id: int) -> None:
        """Count the spans of this trace, and of no other."""
        self._trace = trace_id.to_bytes(16, "big")

    async def seen(self, services: frozenset[str], seconds: float) -> frozenset[str]:
        """Wait until every one of the services has sent a span; returns those that have not after `seconds`."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: services <= self.spans.keys())
        except TimeoutError:
            return services - self.spans.keys()
        return frozenset()

    async def _export(self, request: web.Request) -> web.Response:
        exported = ExportTraceServiceRequest.FromString(await request.read())
        for resource in exported.resource_spans:
            spans = (span for scope in resource.scope_spans for span in scope.spans)
            count = sum(span.trace_id == self._trace for span in spans)
            if count:
                self.spans[_service(resource.resource)] += count
        async with self._changed:
            self._changed.notify_all()
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf"
        )


def _service(resource: Resource) -> str:
    return next((a.value.string_value for a in resource.attributes if a.key == "service.name"), "unknown")
