# SPDX-License-Identifier: Apache-2.0
"""A mesh of temporal alone, with the app of the tests."""

import uuid
from pathlib import Path

from nerv.dev.mesh import LocalMesh

APPS = Path(__file__).parent.parent.parent / "apps"


def ledger_mesh(folder: Path, kafka: str, redis_url: str, *, replicas: int = 1, persist: bool = False) -> LocalMesh:
    """So many replicas under a mesh name that nobody else has; data and logs are in `folder`."""
    return LocalMesh(
        app="ledger:app",
        services=["temporal"],
        replicas={"temporal": replicas},
        folder=folder / ".nerv",
        mesh=f"t{uuid.uuid4().hex[:8]}",
        kafka=kafka,
        redis=redis_url,
        env={"PYTHONPATH": str(APPS)},
        persist=persist,
    )
