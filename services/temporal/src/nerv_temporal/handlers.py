# SPDX-License-Identifier: Apache-2.0
"""The HTTP API of temporal: the table of routes is at the foot, what they do is in `api/`."""

from nerv.client.streams import PROTOBUF
from nerv.service import Route
from nerv.service.describe import About
from nerv.service.params import CLOUDEVENTS
from nerv_temporal.api.appending import APPENDS, EXPECTED, IF_MATCH, append, append_batch
from nerv_temporal.api.chain import OF_CHAIN, chain
from nerv_temporal.api.deps import Deps
from nerv_temporal.api.finding import OF_FIND, find
from nerv_temporal.api.formats import FORMS
from nerv_temporal.api.latest import LATEST, OF_LATEST, latest
from nerv_temporal.api.partitions import PARTITIONS, partitions, positions
from nerv_temporal.api.query import CONSISTENCY, KNOWN_AT, OF_MANY, OF_STREAM
from nerv_temporal.api.reading import read_many, read_stream
from nerv_temporal.api.states import OF_DIFF, OF_STATE, OF_STATES, diff, state, states


def about(deps: Deps) -> About:
    """What a replica of temporal says of itself."""
    settings = deps.settings
    return About(
        settings,
        deps.app,
        reads=[settings.history, settings.commands],
        writes=[settings.history, settings.barriers, settings.replies, settings.deadletters],
        owns=sorted(p for p, owner in deps.owners.owned().items() if owner.serving),
    )


ROUTES = (
    Route("POST", "/v1/streams", append_batch, "streams:append", body=APPENDS, gives=(PROTOBUF,), each=True),
    Route("GET", "/v1/streams", read_many, "streams:read", OF_MANY, gives=FORMS),
    Route(
        "POST",
        "/v1/streams/{stream:path}/events",
        append,
        "streams:append",
        (EXPECTED, IF_MATCH),
        CLOUDEVENTS,
        statuses=(200, 201),
        of="stream",
    ),
    Route("GET", "/v1/streams/{stream:path}/events", read_stream, "streams:read", OF_STREAM, gives=FORMS, of="stream"),
    Route("GET", "/v1/streams/{stream:path}/state", state, "streams:read", OF_STATE, of="stream"),
    Route("GET", "/v1/streams/{stream:path}/diff", diff, "streams:read", OF_DIFF, of="stream"),
    Route("POST", "/v1/streams/latest", latest, "streams:read", OF_LATEST, LATEST, gives=(PROTOBUF,), each=True),
    Route("GET", "/v1/streams/chain", chain, "streams:read", OF_CHAIN, each=True),
    Route("GET", "/v1/streams/find", find, "streams:read", OF_FIND, each=True),
    Route("GET", "/v1/streams/states", states, "streams:read", OF_STATES),
    # Numbers of partitions tell nothing of any stream, and replicas ask for them in the name of whoever reads one.
    Route("GET", "/v1/partitions", partitions, "streams:read", each=True),
    Route(
        "POST", "/v1/partitions/positions", positions, "streams:read", (PARTITIONS, CONSISTENCY, KNOWN_AT), each=True
    ),
)
