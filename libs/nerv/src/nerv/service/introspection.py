# SPDX-License-Identifier: Apache-2.0
"""What every service answers about itself and about all replicas of the mesh: any of them can be asked."""

from starlette.responses import Response

from nerv.service.alive import Alive
from nerv.service.describe import Replica
from nerv.service.routes import Request, Route, respond
from nerv.topology import compare, declared, made, merged

WELL_KNOWN = "/.well-known/nerv"
MESH = "/v1/mesh"
TOPOLOGY = "/v1/mesh/topology"


def introspection(replica: Replica, alive: Alive) -> tuple[Route, ...]:
    """The routes that the chassis adds to those of a service."""

    async def well_known(request: Request[object]) -> Response:
        """GET /.well-known/nerv: what this replica is, hosts, reads, writes and owns; its settings, versions and health."""
        return respond(replica.document())

    async def mesh(request: Request[object]) -> Response:
        """GET /v1/mesh: every replica of every service that is alive, as it said of itself a few seconds ago at most."""
        return respond({"mesh": alive.mesh, "replicas": await alive.replicas()})

    async def topology(request: Request[object]) -> Response:
        """GET /v1/mesh/topology: where events go, as the app declares and as the replicas have seen, and what differs."""
        replicas = await alive.replicas()
        ways = compare([*declared(replica.app, alive.mesh), *made(replicas)], merged(replicas))
        return respond({"mesh": alive.mesh, "app": replica.app.name, "ways": [way.to_dict() for way in ways]})

    return (
        Route("GET", WELL_KNOWN, well_known, "mesh:read"),
        Route("GET", MESH, mesh, "mesh:read"),
        Route("GET", TOPOLOGY, topology, "mesh:read"),
    )
