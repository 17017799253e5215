# SPDX-License-Identifier: Apache-2.0
"""A mesh with projectors on real servers, and waiting until its views show everything."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.errors import NervError
from tests.integration.projector.feeding import Expected

HERE = Path(__file__).parent
PROJECTIONS = ("plane", "airports", "carriers")
SECONDS = 60.0
POLL = 0.05


def projector_mesh(
    folder: Path, name: str, kafka: str, redis: str, *, services: Sequence[str] = ("projector",), replicas: int = 1,
    batch: int = 2000,
) -> LocalMesh:  # fmt: skip
    """The mesh of the app in `trips.py`."""
    return LocalMesh(
        app="trips:app",
        services=list(services),
        replicas={"projector": replicas},
        folder=folder / ".nerv",
        mesh=name,
        kafka=kafka,
        redis=redis,
        env={"PYTHONPATH": str(HERE), "NERV_PROJECTOR__BATCH": str(batch)},
    )


async def rows(client: Client) -> dict[str, dict[str, Any]]:
    """The projections by name."""
    return {row["projection"]: row for row in await client.views.projections()}


async def settled(client: Client, names: Sequence[str] = PROJECTIONS) -> dict[str, dict[str, Any]]:
    """Wait until nothing of history is missing in the views."""
    return await until(client, lambda found: all(found[name]["lag"] == 0 for name in names))


async def until(client: Client, met: Any) -> dict[str, dict[str, Any]]:
    """Wait until the projections are as wished."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            found = await rows(client)
        except NervError as error:
            found = {"error": {"detail": str(error)}}
        else:
            if met(found):
                return found
        assert time.monotonic() < deadline, found
        await asyncio.sleep(POLL)


async def states(client: Client, projection: str) -> dict[str, Any]:
    """Every state of a projection by its key."""
    return {view["key"]: view["state"] async for view in client.views.list(projection)}


async def check_all(client: Client, expected: Expected) -> None:
    """Every view of every projection says what was counted by other code."""
    found = {k: (s["at"], s["trips"], s["minutes"]) for k, s in (await states(client, "plane")).items()}
    assert found == expected.planes
    by_place = [(v["state"]["at"], v["key"]) async for v in client.views.by_index("plane", "at")]
    assert by_place == sorted((at, key) for key, (at, _, _) in expected.planes.items())
    for projection, counted in (("airports", expected.airports), ("carriers", expected.carriers)):
        trips = {k: s["trips"] for k, s in (await states(client, projection)).items()}
        assert trips == dict(counted), (projection, trips, counted)
