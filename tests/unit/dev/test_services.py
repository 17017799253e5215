# SPDX-License-Identifier: Apache-2.0
"""When a service process counts as ready."""

import sys
from pathlib import Path

import pytest
from aiohttp import web

from nerv.dev.folder import MeshFolder
from nerv.dev.plan import ServicePlan
from nerv.dev.ports import HOST, Ports
from nerv.dev.processes import stop_together
from nerv.dev.services import Service, wait_ready
from nerv.errors import Unavailable

SERVER = """
import http.server, sys
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Ready).serve_forever()
"""
SLEEPER = "import time; time.sleep(60)"


def service(folder: Path, program: str, port: int) -> Service:
    """A service process of one program, started."""
    paths = MeshFolder(folder, "token", persist=True)
    paths.logs.mkdir(parents=True)
    plan = ServicePlan("temporal", "temporal", [sys.executable, "-c", program, str(port)], port, port)
    made = Service(plan, paths, {})
    made.start()
    return made


async def test_a_service_is_ready_when_it_answers_itself(tmp_path: Path) -> None:
    """Its own process has the port."""
    started = service(tmp_path, SERVER, Ports(tmp_path).take())
    assert started.process is not None
    try:
        await wait_ready([started], 30.0)
    finally:
        stop_together([started.process], 5.0)


async def test_what_another_process_answers_does_not_count(tmp_path: Path) -> None:
    """Of another mesh, say, that was quicker at the port: it is said, with the port."""

    async def ready(request: web.Request) -> web.Response:
        return web.Response()

    runner = web.AppRunner(web.Application())
    runner.app.router.add_get("/readyz", ready)
    await runner.setup()
    port = Ports(tmp_path).take()
    await web.TCPSite(runner, HOST, port).start()
    started = service(tmp_path, SLEEPER, port)
    assert started.process is not None
    try:
        with pytest.raises(Unavailable, match=f"another process has its port {port}"):
            await wait_ready([started], 1.0)
    finally:
        stop_together([started.process], 5.0)
        await runner.cleanup()
