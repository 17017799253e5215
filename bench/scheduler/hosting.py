# SPDX-License-Identifier: Apache-2.0
"""The service as it is deployed: temporal and replicas of the scheduler as processes, on a Kafka and a Redis that are given."""

import os
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from nerv.client import Client
from nerv.dev.mesh import LocalMesh

ROOT = Path(__file__).parent.parent.parent


@asynccontextmanager
async def hosted(
    kafka: str, redis: str, *, replicas: int = 1, settings: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[LocalMesh, Client]]:
    """A mesh of its own; `settings` are of the scheduler, without their prefix."""
    given = {f"NERV_SCHEDULER__{name}": value for name, value in (settings or {}).items()}
    with tempfile.TemporaryDirectory(prefix="nerv-bench-") as folder:
        mesh = LocalMesh(
            app="bench.scheduler.app:app",
            services=["temporal", "scheduler"],
            replicas={"scheduler": replicas},
            folder=Path(folder) / ".nerv",
            mesh=f"b{uuid.uuid4().hex[:8]}",
            kafka=kafka,
            redis=redis,
            env={"PYTHONPATH": str(ROOT), "OTEL_SDK_DISABLED": "true", "NERV_LOG_LEVEL": "warning", **given},
            on_phase=lambda text: None,
        )
        async with mesh, Client({name: mesh.url(name) for name in ("temporal", "scheduler")}) as client:
            yield mesh, client


def quiet() -> None:
    """No telemetry in the program that measures."""
    os.environ.setdefault("OTEL_SDK_DISABLED", "true")
