# SPDX-License-Identifier: Apache-2.0
"""How each module's own mesh is asked."""

from collections.abc import AsyncIterator

import pytest_asyncio

from nerv.client import Client
from nerv.dev.mesh import LocalMesh


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(mesh: LocalMesh) -> AsyncIterator[Client]:
    """The client, to the first replica of each service."""
    async with Client({name: mesh.url(name) for name in mesh.services}) as client:
        yield client
