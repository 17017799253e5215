# SPDX-License-Identifier: Apache-2.0
"""The port `History`: in memory, and over HTTP from a real *temporal* on a real Kafka."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.protocols import History
from nerv.testing.contracts.history import HistoryContract
from nerv.testing.memory import MemoryHistory

APPS = Path(__file__).parent.parent / "apps"


class TestMemoryHistory(HistoryContract):
    """The memory history keeps the contract."""

    @pytest.fixture
    def history(self) -> History:
        """A new one for each test."""
        return MemoryHistory()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def temporal(kafka: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[History]:
    """One service for all tests; their streams have names of their own."""
    mesh = LocalMesh(
        app="ledger:app",
        services=["temporal"],
        folder=tmp_path_factory.mktemp("temporal") / ".nerv",
        mesh=f"t{uuid.uuid4().hex[:8]}",
        kafka=kafka,
        redis=redis_url,
        env={"PYTHONPATH": str(APPS)},
    )
    async with mesh, Client({"temporal": mesh.url("temporal")}) as client:
        yield client.streams


@pytest.mark.asyncio(loop_scope="module")
class TestTemporal(HistoryContract):
    """Temporal, behind its client, keeps the contract."""

    @pytest.fixture
    def history(self, temporal: History) -> History:
        """The same service for each test."""
        return temporal
