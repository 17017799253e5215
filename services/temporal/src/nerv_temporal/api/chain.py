# SPDX-License-Identifier: Apache-2.0
"""What belongs together: the events of a chain of causes, in whichever streams they are."""

from typing import Any

from starlette.responses import Response

from nerv.api.event.v1 import event_pb2
from nerv.cloudevents.proto_format import from_us
from nerv.errors import Invalid
from nerv.service import Request, respond
from nerv.service.params import ID, number, text
from nerv.types import check_id, format_instant
from nerv_temporal.api.deps import Deps

OF = text("of", "The correlation id of the chain, which is the id of the event, or the run, that it began with.", ID)
LIMIT = number("limit", 1000, "How many events at most.", low=1, high=5000)
OF_CHAIN = (OF, LIMIT)


async def chain(request: Request[Deps]) -> Response:
    """GET /v1/streams/chain: the events with a correlation id, by when they were recorded, without their data.

    What the caller may not read is counted in `hidden`; `whole` is false where there are more than `limit`. A replica answers by
    what it has read by now.
    """
    name = request.get(OF)
    if name is None:
        raise Invalid("say of what: of=<correlation id>")
    found, whole = request.deps.tail.index.chain(check_id(name, "of"), request.get(LIMIT))
    may = request.principal.may
    seen = [one for one in found if may("streams:read", one[0].stream)]
    seen.sort(key=lambda one: (one[1].recorded_time_us, one[0].partition, one[0].offset))
    topic = request.deps.settings.history
    events = [about(event) | {"topic": topic, "partition": at.partition, "offset": at.offset} for at, event in seen]
    return respond({"chain": name, "events": events, "hidden": len(found) - len(seen), "whole": whole})


def about(event: event_pb2.Event) -> dict[str, Any]:
    """An event of a stream without its data."""
    return {
        "stream": event.subject,
        "version": event.sequence,
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "time": format_instant(from_us(event.time_us)),
        "recorded_time": format_instant(from_us(event.recorded_time_us)),
        "correlation_id": event.correlation_id or None,
        "causation_id": event.causation_id or None,
        "traceparent": event.traceparent or None,
    }
