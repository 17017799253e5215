# SPDX-License-Identifier: Apache-2.0
"""How each module's own mesh is asked."""

from collections.abc import AsyncIterator

import aiohttp
import pytest_asyncio

from nerv.client import Client
from nerv.dev.mesh import LocalMesh


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(mesh: LocalMesh) -> AsyncIterator[aiohttp.ClientSession]:
    """Plain HTTP to the first replica."""
    async with aiohttp.ClientSession(mesh.url("temporal")) as session:
        yield session


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(mesh: LocalMesh) -> AsyncIterator[Client]:
    """The client, to the first replica."""
    async with Client({"temporal": mesh.url("temporal")}) as client:
        yield client
