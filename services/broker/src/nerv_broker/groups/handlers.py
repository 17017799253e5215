# SPDX-License-Identifier: Apache-2.0
"""Groups over HTTP."""

from typing import Any, Protocol

from starlette.responses import Response, StreamingResponse

from nerv.errors import Conflict, Invalid, TooLarge
from nerv.kafka.survey import Survey
from nerv.service import JSON, Request, Route, respond
from nerv.service.params import ID, Body, number, text
from nerv.types import check_id
from nerv_broker.bodies import amount, document_of
from nerv_broker.catalog import HasCatalog, check_topic
from nerv_broker.groups import making, members
from nerv_broker.groups.entries import Token
from nerv_broker.groups.hosting import Groups
from nerv_broker.groups.shared import Verdict
from nerv_broker.groups.spec import GroupSpec, check_name, parse_spec

MOST = 500  # events in one answer, verdicts in one request
LONGEST_WAIT = 30.0  # s
LONGEST_PAUSE = 86_400.0  # s, that a member may put an event off
VERBS = ("ack", "retry", "park", "skip", "renew", "release")
CAUSE = 1000  # characters

MEMBER = text("member", "Who asks: the same name on each request of one member, whichever replica answers.")
LIMIT = number("limit", 100, "Events in the member's hand at most.", low=1, high=MOST)
NUMBER = {"type": "number", "minimum": 0}
FETCH = Body(
    {
        JSON: {
            "type": "object",
            "properties": {
                "member": ID,
                "limit": {"type": "integer", "minimum": 1, "maximum": MOST, "default": 1},
                "wait": NUMBER
                | {"maximum": LONGEST_WAIT, "default": 0, "description": "Seconds to wait for the first one."},
            },
            "required": ["member"],
        }
    }
)
VERDICTS = Body(
    {
        JSON: {
            "type": "object",
            "properties": {
                "verdicts": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": MOST,
                    "items": {
                        "type": "object",
                        "properties": {
                            "token": {"type": "string", "description": "As it came with the event."},
                            "verdict": {"type": "string", "enum": list(VERBS)},
                            "after": NUMBER | {"maximum": LONGEST_PAUSE, "description": "retry: seconds to wait."},
                            "cause": {"type": "string", "description": "Why; a dead letter has it."},
                        },
                        "required": ["token", "verdict"],
                    },
                }
            },
            "required": ["verdicts"],
        }
    },
    "ack: processed. retry: try again. park: to the dead letters, and its key stops. skip: passed over, which is recorded. "
    "renew: go on having it in hand. release: give it back, without counting an attempt.",
)


class HasGroups(HasCatalog, Protocol):
    """What these handlers work with."""

    @property
    def survey(self) -> Survey:
        """Where topics end."""
        ...

    @property
    def groups(self) -> Groups:
        """The groups."""
        ...


async def make_group(request: Request[HasGroups]) -> Response:
    """PUT /v1/subscriptions/{name}: make the group that the body describes; once it is there, a repeat changes nothing."""
    name, deps = check_name(request.path("name")), request.deps
    spec = parse_spec(document_of(request))
    request.principal.require("topics:read", spec.topic)
    if name in deps.app.reactions:
        raise Conflict(f"{name} is a reaction of the app, which keeps books of this name; choose another")
    topic = check_topic(spec.topic, deps.settings.mesh)
    partitions = await deps.catalog.partitions(topic)
    async with deps.groups.books(name) as books:
        new = await making.make(deps.groups, books, spec, partitions, deps.survey, request.principal.subject)
        created = books.ledger.created
    await deps.groups.hosted(name, lambda hosted: hosted is not None and hosted.created >= created)
    return respond({"name": name, **spec.data()}, 201 if new else 200)


async def delete_group(request: Request[HasGroups]) -> Response:
    """DELETE /v1/subscriptions/{name}: nobody gets events of this group any more. Its dead letters stay where they are."""
    name = check_name(request.path("name"))
    async with request.deps.groups.books(name) as books:
        await making.delete(books, request.principal.subject)
    await request.deps.groups.hosted(name, lambda hosted: hosted is None)
    return respond({"name": name, "deleted": True})


async def show_group(request: Request[HasGroups]) -> Response:
    """GET /v1/subscriptions/{name}: the group, its members, how each partition stands, its lag and dead letters."""
    hosted = await request.deps.groups.get(check_name(request.path("name")))
    return respond(await making.described(hosted, await making.ends([hosted], request.deps.survey)))


async def list_groups(request: Request[HasGroups]) -> Response:
    """GET /v1/subscriptions: the groups that the caller may see, with their lag."""
    found = [one for one in request.deps.groups.all() if request.principal.may("subscriptions:read", one.name)]
    end = await making.ends(found, request.deps.survey)
    rows = [await making.described(one, end) for one in found]
    return respond({"subscriptions": [{k: v for k, v in row.items() if k != "partitions"} for row in rows]})


async def fetch(request: Request[HasGroups]) -> Response:
    """POST /v1/subscriptions/{name}/fetch: events for a member, which has them in hand until it answers or their lease ends."""
    hosted = await request.deps.groups.get(check_name(request.path("name")))
    document = document_of(request)
    member = check_id(document.get("member"), "member")
    limit = int(amount(document, "limit", 1, 1, MOST))
    wait = amount(document, "wait", 0, 0, LONGEST_WAIT)
    found = await members.fetch(hosted, member, limit, wait, request.deps.groups.closing)
    return respond({"events": found, "lease_seconds": hosted.spec.lease_seconds})


async def group_events(request: Request[HasGroups]) -> Response:
    """GET /v1/subscriptions/{name}/events: the same as server-sent events, never more than `limit` in the member's hand."""
    deps = request.deps
    hosted = await deps.groups.get(check_name(request.path("name")))
    member = check_id(request.get(MEMBER), "member")

    def gone() -> bool:
        return deps.groups.find(hosted.name) is not hosted

    heartbeat = deps.settings.broker.heartbeat_seconds
    pieces = members.stream(hosted, member, request.get(LIMIT), heartbeat, deps.groups.closing, gone)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(deps.groups.counted(pieces), 200, headers, "text/event-stream")


async def conclude(request: Request[HasGroups]) -> Response:
    """POST /v1/subscriptions/{name}/verdicts: what a member says of events; those not in its hand any more are told as lost."""
    hosted = await request.deps.groups.get(check_name(request.path("name")))
    document = document_of(request)
    given = document.get("verdicts")
    if not isinstance(given, list) or not given:
        raise Invalid('send {"verdicts": [{"token": "...", "verdict": "ack"}]}')
    if len(given) > MOST:
        raise TooLarge(f"{len(given)} verdicts in one request; the limit is {MOST}")
    verdicts = [_verdict(index, one) for index, one in enumerate(given)]
    told = await members.conclude(hosted, verdicts)
    lost = [str(one.token) for one, done in zip(verdicts, told, strict=True) if not done]
    return respond({"done": sum(told), "lost": lost})


def _verdict(index: int, one: Any) -> Verdict:
    if not isinstance(one, dict) or one.get("verdict") not in VERBS:
        raise Invalid(f"verdicts[{index}]: verdict must be one of {', '.join(VERBS)}")
    token = Token.parse(str(one.get("token", "")))
    wait = amount(one, "after", 0, 0, LONGEST_PAUSE) if "after" in one else None
    return Verdict(token, one["verdict"], wait, str(one.get("cause", ""))[:CAUSE] or f"{one['verdict']} by a member")


ROUTES = (
    Route("GET", "/v1/subscriptions", list_groups, "subscriptions:read", each=True),
    Route(
        "PUT",
        "/v1/subscriptions/{name}",
        make_group,
        "subscriptions:write",
        body=Body({JSON: GroupSpec.model_json_schema(by_alias=True)}, "The group."),
        statuses=(200, 201),
        of="name",
    ),
    Route("GET", "/v1/subscriptions/{name}", show_group, "subscriptions:read", of="name"),
    Route("DELETE", "/v1/subscriptions/{name}", delete_group, "subscriptions:write", of="name"),
    Route("POST", "/v1/subscriptions/{name}/fetch", fetch, "subscriptions:consume", body=FETCH, of="name"),
    Route(
        "GET",
        "/v1/subscriptions/{name}/events",
        group_events,
        "subscriptions:consume",
        (MEMBER, LIMIT),
        gives=("text/event-stream",),
        of="name",
    ),
    Route("POST", "/v1/subscriptions/{name}/verdicts", conclude, "subscriptions:consume", body=VERDICTS, of="name"),
)
