# SPDX-License-Identifier: Apache-2.0
"""Metrics go over OTLP where the usual variables say, beside being there to scrape."""

import asyncio
import os
import sys

from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from nerv.telemetry import names as n

SECONDS = 60.0
# A process of its own: it can have one provider of metrics in its life.
PROGRAM = f"""
from nerv.telemetry import counter, telemetry
with telemetry("broker", "broker-0") as scrape:
    counter("{n.DEADLETTERS}").add(3, {{"{n.BY}": "mail"}})
    assert b'nerv_deadletters_total{{nerv_by="mail",service_name="broker"}} 3.0' in scrape()
"""


async def test_what_was_counted_is_pushed_at_the_end_at_the_latest() -> None:
    """Over OTLP/HTTP, with the name of the service; and the same is scraped."""
    came: list[ExportMetricsServiceRequest] = []

    async def export(request: web.Request) -> web.Response:
        came.append(ExportMetricsServiceRequest.FromString(await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/metrics", export)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        env |= {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"http://{host}:{port}/v1/metrics"}
        env |= {"OTEL_EXPORTER_OTLP_METRICS_COMPRESSION": "none"}
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, env=env)
        assert await asyncio.wait_for(process.wait(), SECONDS) == 0
    finally:
        await runner.cleanup()
    [resource] = came[0].resource_metrics
    names = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
    metrics = {metric.name: metric for scope in resource.scope_metrics for metric in scope.metrics}
    assert names["service.name"] == "broker"
    assert metrics[n.DEADLETTERS].sum.data_points[0].as_int == 3
