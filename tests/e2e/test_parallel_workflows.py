# SPDX-License-Identifier: Apache-2.0
"""The parallel workflow engine as docs/parallel-workflows.md tells it: its own app and program, and services that are killed."""

import asyncio
import uuid
from pathlib import Path

from nerv.dev.mesh import LocalMesh
from tests.e2e.pages import program, walk

PAGE = Path(__file__).parent.parent.parent / "docs" / "parallel-workflows.md"
SECONDS = 240.0


async def test_every_report_is_made_once_whatever_is_killed(kafka: str, redis_url: str, tmp_path: Path) -> None:
    """The program of the page runs while a replica of the scheduler and the broker are killed; it checks each report itself."""
    program(PAGE, "engine.py", tmp_path)
    mesh = LocalMesh(
        app="engine:app",
        services=["temporal", "broker", "projector", "scheduler"],
        replicas={"scheduler": 2},
        folder=tmp_path / ".nerv",
        mesh=f"t{uuid.uuid4().hex[:8]}",
        kafka=kafka,
        redis=redis_url,
        env={"PYTHONPATH": str(tmp_path), "NERV_SCHEDULER__LEASE_SECONDS": "2"},
    )
    async with mesh, asyncio.timeout(SECONDS):
        walking = asyncio.create_task(walk(tmp_path, "a", "12", "5000"))
        for name in ("broker", "scheduler-2"):  # the broker first: no report is made without it
            await mesh.kill(name)
            await mesh.restart(name)
        assert await walking == "12 reports, each made and announced once"
