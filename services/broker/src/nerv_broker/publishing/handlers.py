# SPDX-License-Identifier: Apache-2.0
"""Publishing over HTTP."""

from starlette.responses import Response

from nerv.cloudevents.http_binding import from_http
from nerv.errors import Invalid
from nerv.limits import check_batch, check_event_size
from nerv.service import JSON, Request, Route, respond
from nerv.service.forwarding import FORWARDED
from nerv.service.params import CLOUDEVENTS, IDEMPOTENCY_KEY, Body
from nerv_broker.publishing.lines import NDJSON, publish_lines
from nerv_broker.publishing.publisher import PATH, PROTOBUF, from_message, to_document
from nerv_broker.publishing.taking import GUARANTEE, CanPublish, Kept, document, take, worst

EVENTS = Body(
    {
        **CLOUDEVENTS.types,
        NDJSON: {"type": "string", "description": "A structured event on each line, of any number."},
    },
    f"{CLOUDEVENTS.help} As {NDJSON} they are published as they come, and the answer has a line for each.",
)
PUBLICATIONS = Body({PROTOBUF: {"type": "string", "format": "binary"}}, "A nerv.api.event.v1.PublishBatch.")


async def publish(request: Request[CanPublish]) -> Response:
    """POST /v1/topics/{topic}/events: CloudEvents to a topic; answered once Kafka has them, with the place of each.

    An event that is known by source and id, or by the Idempotency-Key of its request, is not written again: the answer is the
    first one. With other content it is refused. The topic's middleware is asked first: what it drops is answered as dropped,
    what it refuses refuses the request. What does not fit its schema refuses the request, too; where the app declares the topic
    with invalid="deadletter" it becomes a dead letter instead: `deadletter` is its id, `errors` the path of each fault.
    """
    deps = request.deps
    topic = await deps.catalog.public(request.path("topic"))
    if (request.header("content-type") or "").partition(";")[0].strip().lower() == NDJSON:
        return publish_lines(request, topic)
    events = from_http(request.headers, request.body, deps.settings.limits)
    outcomes = await take(request, topic, events, range(len(events)))
    error = worst(events, outcomes)
    if error is not None:
        raise error
    told: dict[str, object] = {"events": [document(event, one) for event, one in zip(events, outcomes, strict=True)]}
    letters = [one for one in outcomes if isinstance(one, Kept)]
    return respond(told | {"deadletters": len(letters)} if letters else told)


async def publish_owned(request: Request[CanPublish]) -> Response:
    """POST /v1/publications: what another replica has checked and hands to this one, which owns its keys. Not for others."""
    deps = request.deps
    if request.header(FORWARDED) is None:
        raise Invalid("this is how brokers speak to each other; publish to /v1/topics/{topic}/events")
    publications = from_message(request.body)
    check_batch(len(publications), deps.settings.limits)
    for topic in {one.topic for one in publications}:
        await deps.catalog.public(topic)
    for one in publications:
        check_event_size(len(one.event.data), deps.settings.limits)
    outcomes = await deps.publisher.publish(publications, forwarded=True)
    return respond({"outcomes": to_document(outcomes)})


ROUTES = (
    Route(
        "POST",
        "/v1/topics/{topic}/events",
        publish,
        "topics:publish",
        (GUARANTEE, IDEMPOTENCY_KEY),
        EVENTS,
        gives=(JSON, NDJSON),
        of="topic",
        streams=(NDJSON,),
    ),
    Route("POST", PATH, publish_owned, "publications:write", body=PUBLICATIONS),
)
