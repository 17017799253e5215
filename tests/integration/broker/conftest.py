# SPDX-License-Identifier: Apache-2.0
"""A broker and a temporal with the ledger app, whose topics are the test's own."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from nerv.client import Client
from nerv.dev.mesh import LocalMesh

APPS = Path(__file__).parent.parent.parent / "apps"


@pytest.fixture(scope="module")
def prefix() -> str:
    """What the topics of this module's app begin with."""
    return f"ledger-{uuid.uuid4().hex[:8]}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(
    kafka: str, redis_url: str, prefix: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LocalMesh]:
    """The two services."""
    async with LocalMesh(
        app="ledger:app",
        services=["temporal", "broker"],
        folder=tmp_path_factory.mktemp("broker") / ".nerv",
        mesh=f"t{uuid.uuid4().hex[:8]}",
        kafka=kafka,
        redis=redis_url,
        env={"PYTHONPATH": str(APPS), "LEDGER_TOPICS": prefix},
    ) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(mesh: LocalMesh) -> AsyncIterator[Client]:
    """The client of both."""
    async with Client({name: mesh.url(name) for name in ("temporal", "broker")}) as client:
        yield client
