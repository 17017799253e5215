# SPDX-License-Identifier: Apache-2.0
"""An OTLP/HTTP receiver in this process: services export to it, and a test looks at the spans that came."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

PATH = "/v1/traces"
MOST_BYTES = 16 * 1024 * 1024  # of one export; the SDK sends 512 spans at a time
MOST_SPANS = 200_000  # that are kept; the oldest go first


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """A span as it was exported. Ids are lower-case hexadecimal; `parent` is empty for a root."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent: str
    links: tuple[str, ...]
    attributes: dict[str, str | int | bool | float]


class Receiver:
    """`async with Receiver() as receiver:` - set OTEL_EXPORTER_OTLP_TRACES_ENDPOINT to `receiver.traces`: it takes no metrics."""

    def __init__(self) -> None:
        self.url = ""
        self.spans: deque[ReceivedSpan] = deque(maxlen=MOST_SPANS)
        self._came = asyncio.Condition()
        app = web.Application(client_max_size=MOST_BYTES)
        app.router.add_post(PATH, self._export)
        self._runner = web.AppRunner(app, access_log=None)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    @property
    def traces(self) -> str:
        """Where spans go, below `url`."""
        return self.url + PATH

    def of_trace(self, trace_id: str) -> list[ReceivedSpan]:
        """The spans of one trace that have come so far."""
        return [span for span in self.spans if span.trace_id == trace_id]

    def services(self, trace_id: str) -> set[str]:
        """The services that have a span in a trace."""
        return {span.service for span in self.of_trace(trace_id)}

    async def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until a condition on the spans holds; whether it does after `seconds`."""
        try:
            async with asyncio.timeout(seconds), self._came:
                await self._came.wait_for(condition)
        except TimeoutError:
            return False
        return True

    async def _export(self, request: web.Request) -> web.Response:
        exported = ExportTraceServiceRequest.FromString(await request.read())
        for resource in exported.resource_spans:
            service = str(_values(resource.resource.attributes).get("service.name", "unknown"))
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        ReceivedSpan(
                            service,
                            span.name,
                            span.trace_id.hex(),
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            tuple(link.trace_id.hex() for link in span.links),
                            _values(span.attributes),
                        )
                    )
        async with self._came:
            self._came.notify_all()
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=answer, content_type="application/x-protobuf")


def _values(attributes: Iterable[KeyValue]) -> dict[str, str | int | bool | float]:
    found: dict[str, str | int | bool | float] = {}
    for attribute in attributes:
        kind = attribute.value.WhichOneof("value")
        if kind in ("string_value", "int_value", "bool_value", "double_value"):
            found[attribute.key] = getattr(attribute.value, kind)
    return found
