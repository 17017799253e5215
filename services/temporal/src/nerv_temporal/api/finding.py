# SPDX-License-Identifier: Apache-2.0
"""Find an event of history by its id alone: in the streams that were written to last, until so many events are looked at."""

import asyncio
from collections.abc import Iterator, Sequence

from starlette.responses import Response

from nerv.cloudevents.proto_format import from_us, to_us
from nerv.errors import Invalid, NotFound
from nerv.service import Request, respond
from nerv.service.params import ID, instant, text
from nerv.types import check_id, format_instant, utc_now
from nerv_temporal.api.chain import about
from nerv_temporal.api.deps import Deps
from nerv_temporal.index import Index, Place
from nerv_temporal.reads import SLICE, first_offset

WANTED = text("id", "The event's id.", ID)
BEFORE = instant("before", "It was recorded by then; now where it is left out. It is looked for from there backwards.")
OF_FIND = (WANTED, BEFORE)
MOST = 20_000  # events; what is looked at is their streams, each for any event of it


async def find(request: Request[Deps]) -> Response:
    """GET /v1/streams/find: the event of an id, without its data, in any stream that the caller may read.

    Streams have ids of their own, so that all of them would have to be asked. Asked are those that have one of the last 20,000
    events before an instant: 404 says from when on these are.
    """
    name = request.get(WANTED)
    if name is None:
        raise Invalid("say which event: id=<its id>")
    check_id(name, "id")
    before = request.get(BEFORE) or utc_now()
    index, since = request.deps.tail.index, None
    asked: set[str] = set()
    for places in _backwards(index, request.deps.settings.partitions, to_us(before)):
        streams = list({place.stream for place in places} - asked)
        asked.update(streams)
        since = min(place.recorded_us for place in places)
        found = index.which(streams, name) if streams else None
        if found is not None and request.principal.may("streams:read", found[0]):
            event = index.event(*found)
            if event is not None:
                return respond(about(event))
        await asyncio.sleep(0)
    told = "" if since is None else f" from {format_instant(from_us(since))}"
    raise NotFound(
        f"no event {name} is in one of the {len(asked)} streams that were written to{told} until {format_instant(before)}; "
        "it may be in another one, or be no event of history"
    )


def _backwards(index: Index, partitions: int, until_us: int) -> Iterator[Sequence[Place]]:
    """The places of the last events until an instant, some of each partition at a time."""
    stops = {p: first_offset(index, p, until_us + 1) for p in range(partitions)}
    looked = 0
    while stops and looked < MOST:
        places: list[Place] = []
        for partition, stop in list(stops.items()):
            found = index.places(partition, 0, stop, backward=True, limit=SLICE)
            places += found
            stops[partition] = found[-1].offset if found else 0
            if len(found) < SLICE:
                del stops[partition]
        looked += len(places)
        if places:
            yield places
