# SPDX-License-Identifier: Apache-2.0
"""The event-driven architecture as docs/event-driven.md tells it: the page's own app and program, and a broker that is killed."""

import asyncio
import uuid
from pathlib import Path

from nerv.dev.mesh import LocalMesh
from tests.e2e.pages import program, walk

PAGE = Path(__file__).parent.parent.parent / "docs" / "event-driven.md"
SECONDS = 180.0


async def test_every_order_is_shipped_once_whatever_is_killed(kafka: str, redis_url: str, tmp_path: Path) -> None:
    """The program of the page runs while the broker is killed and comes back; it checks each order itself."""
    program(PAGE, "shipping.py", tmp_path)
    mesh = LocalMesh(
        app="shipping:app",
        services=["temporal", "broker"],
        folder=tmp_path / ".nerv",
        mesh=f"t{uuid.uuid4().hex[:8]}",
        kafka=kafka,
        redis=redis_url,
        env={"PYTHONPATH": str(tmp_path)},
    )
    async with mesh, asyncio.timeout(SECONDS):
        walking = asyncio.create_task(walk(tmp_path, "a", "30"))
        for _ in range(2):
            await mesh.kill("broker")
            await mesh.restart("broker")
        assert await walking == "30 orders, each shipped once"
