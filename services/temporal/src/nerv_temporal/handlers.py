# SPDX-License-Identifier: Apache-2.0
"""The HTTP API of temporal: the table of routes is at the foot, what they do is in `api/`."""

from starlette.responses import Response

from nerv.service import Request, Route, respond
from nerv.service.describe import describe
from nerv_temporal.api.appending import append, append_batch
from nerv_temporal.api.deps import Deps
from nerv_temporal.api.partitions import partitions, positions
from nerv_temporal.api.reading import read_many, read_stream
from nerv_temporal.api.states import diff, state, states


async def well_known(request: Request[Deps]) -> Response:
    """GET /.well-known/nerv: what this replica is."""
    deps = request.deps
    return respond(
        describe(
            "temporal",
            deps.settings,
            deps.app,
            reads=[deps.settings.history],
            writes=[deps.settings.history, deps.settings.barriers],
            owns=sorted(p for p, owner in deps.owners.owned().items() if owner.serving),
        )
    )


ROUTES = (
    Route("POST", "/v1/streams", append_batch, "streams:append"),
    Route("GET", "/v1/streams", read_many, "streams:read"),
    Route("POST", "/v1/streams/{stream:path}/events", append, "streams:append"),
    Route("GET", "/v1/streams/{stream:path}/events", read_stream, "streams:read"),
    Route("GET", "/v1/streams/{stream:path}/state", state, "streams:read"),
    Route("GET", "/v1/streams/{stream:path}/diff", diff, "streams:read"),
    Route("GET", "/v1/streams/states", states, "streams:read"),
    Route("GET", "/v1/partitions", partitions, "streams:read"),
    Route("POST", "/v1/partitions/positions", positions, "streams:read"),
    Route("GET", "/.well-known/nerv", well_known, "mesh:read"),
)
