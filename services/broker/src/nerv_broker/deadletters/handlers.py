# SPDX-License-Identifier: Apache-2.0
"""Dead letters over HTTP."""

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.responses import Response

from nerv.cloudevents import from_record, to_json_line
from nerv.errors import Invalid, TooLarge
from nerv.kafka.deadletters import DOOR, DeadLetter, Headers, Place
from nerv.service import JSON, Request, Route, respond
from nerv.service.params import Body, Param, number, text
from nerv.subscriptions import State, key_text
from nerv.types import check_id, format_instant
from nerv_broker.bodies import amount, document_of
from nerv_broker.deadletters.door import CanPublishLetters, dead_at_door, discard_at_door, replay_at_door
from nerv_broker.deadletters.office import Chosen, Listed
from nerv_broker.subscriptions.positions import parse_place, position

FASTEST = 1_000_000.0  # letters a second
NAMED = 500  # letters in one request
SHOWN = 500  # parked keys of a subscription that are listed
CAUSE = 1000  # characters of a reason

SUBSCRIPTION = text("subscription", "Only letters of this subscriber.")
KEY = text("key", "Only letters with this key.")
ABOUT = text("cause", "Only letters whose cause contains this.")
TOPIC = text("topic", "Only letters about records of this topic.")
BEFORE = text("before", "Where the next page goes on: `next` of the one before.")
LIMIT = number("limit", 50, "Letters at most.", low=1, high=500)
CHOICE = {
    "letters": {"type": "array", "items": {"type": "string", "examples": ["0:42"]}, "maxItems": NAMED},
    "key": {"type": "string", "description": "All letters of this key, in order; then the key goes on."},
    "all": {"type": "boolean", "description": "All letters that are dead, up to 5000."},
}
REPLAY = Body(
    {JSON: {"type": "object", "properties": CHOICE | {"rate": {"type": "number", "exclusiveMinimum": 0}}}},
    "Which letters: one of letters, key, all; and how many a second at most.",
)
DISCARD = Body(
    {JSON: {"type": "object", "properties": CHOICE | {"why": {"type": "string"}}}}, "Which letters, and why."
)
EDIT = Body(
    {
        JSON: {
            "type": "object",
            "properties": {
                "data": {"description": "The new data, as JSON."},
                "base64": {"type": "string", "description": "The new data, as bytes."},
                "headers": {
                    "type": "object",
                    "additionalProperties": {"type": ["string", "null"]},
                    "description": "Headers to set, or with null to remove: ce_type, for one.",
                },
            },
        }
    },
    "What changes; all else of the record stays as it is.",
)


async def list_letters(request: Request[CanPublishLetters]) -> Response:
    """GET /v1/deadletters: the newest letters that the caller may see, and `next` for the page after."""
    deps, who = request.deps, request.principal
    by, key, cause, topic = (request.get(param) for param in (SUBSCRIPTION, KEY, ABOUT, TOPIC))

    def wanted(letter: DeadLetter) -> bool:
        return (
            who.may("deadletters:read", letter.by)
            and (by is None or letter.by == by)
            and (key is None or key_text(letter.key) == key)
            and (cause is None or cause in letter.cause)
            and (topic is None or letter.origin.of_topic == topic)
        )

    given = request.get(BEFORE)
    before = None if given is None else parse_place(given, deps.settings.partitions, "before").offsets
    page = await deps.office.page(wanted, request.get(LIMIT), before)
    rows = [_row(one.found.letter, one) for one in page.letters if one.found.letter is not None]
    return respond({"letters": rows, "next": None if page.before is None else position(page.before)})


async def show_letter(request: Request[CanPublishLetters]) -> Response:
    """GET /v1/deadletters/{subscription}/{letter}: all of a letter: its cause, headers, data, and the event it is."""
    letter, listed = await request.deps.office.letter(*_named(request))
    return respond(_row(letter, listed) | _inside(letter))


async def parked_keys(request: Request[CanPublishLetters]) -> Response:
    """GET /v1/deadletters/{subscription}: how many letters wait for people, and which keys wait for them."""
    name = check_id(request.path("subscription"), "subscription")
    if name.startswith(DOOR):
        waiting = len(await dead_at_door(request.deps.office, name, Chosen(everything=True)))
        return respond(
            {"subscription": name, "dead": waiting, "replaying": 0, "parked_keys": 0, "skipped": 0, "parked": []}
        )
    ledger = await request.deps.office.ledger(name)
    lanes = sorted(ledger.parked().items(), key=lambda item: item[1][0].origin)
    keys = [
        {
            "key": key,
            "topic": topic,
            "partition": partition,
            "letters": len(letters),
            "replaying": sum(letter.state is State.REPLAYING for letter in letters),
            "first": str(letters[0].place),
            "cause": letters[0].cause,
        }
        for (topic, partition, key), letters in lanes
    ]
    dead = sum(letter.state is State.DEAD for letter in ledger.letters.values())
    counts = {"dead": dead, "replaying": len(ledger.letters) - dead, "parked_keys": len(keys)}
    return respond({"subscription": name, **counts, "skipped": ledger.skipped, "parked": keys[:SHOWN]})


async def edit_letter(request: Request[CanPublishLetters]) -> Response:
    """PUT /v1/deadletters/{subscription}/{letter}: a new edition of a letter; answers its id. The old one stays where it is."""
    name, place = _named(request)
    document = document_of(request)
    if not document.keys() & {"data", "base64", "headers"}:
        raise Invalid('say what changes: {"data": {...}}, {"base64": "..."} or {"headers": {"ce_type": "..."}}')
    new = await request.deps.office.edit(name, place, lambda old: _changed(old, document), request.principal.subject)
    return respond({"id": str(new), "edited": str(place)})


async def replay_letters(request: Request[CanPublishLetters]) -> Response:
    """POST /v1/deadletters/{subscription}/replay: letters go to this subscriber again, those of a key in order.

    Those of a topic's door (`door:<topic>`) are published to it, through the same checks; then they are settled.
    """
    name, document = check_id(request.path("subscription"), "subscription"), document_of(request)
    if name.startswith(DOOR):
        count = await replay_at_door(request, name, _chosen(document))
        return respond({"subscription": name, "replaying": 0, "published": count})
    count = await request.deps.office.replay(name, _chosen(document), request.principal.subject)
    return respond({"subscription": name, "replaying": count})


async def discard_letters(request: Request[CanPublishLetters]) -> Response:
    """POST /v1/deadletters/{subscription}/discard: letters that nobody wants; a key without letters goes on."""
    name, document = check_id(request.path("subscription"), "subscription"), document_of(request)
    why = str(document.get("why", ""))[:CAUSE]
    if name.startswith(DOOR):
        return respond(
            {"subscription": name, "discarded": await discard_at_door(request, name, _chosen(document), why)}
        )
    count = await request.deps.office.discard(name, _chosen(document), request.principal.subject, why)
    return respond({"subscription": name, "discarded": count})


def _named(request: Request[CanPublishLetters]) -> tuple[str, Place]:
    return check_id(request.path("subscription"), "subscription"), Place.parse(request.path("letter"))


def _chosen(document: Mapping[str, Any]) -> Chosen:
    given = [name for name in ("letters", "key", "all") if document.get(name) not in (None, False, [])]
    if len(given) != 1:
        raise Invalid('say which letters: {"letters": ["0:42"]}, {"key": "..."} or {"all": true}')
    letters = document.get("letters") or []
    if not isinstance(letters, list):
        raise Invalid("letters must be a list of ids such as 0:42")
    if len(letters) > NAMED:
        raise TooLarge(f"{len(letters)} letters in one request; the limit is {NAMED}")
    key = document.get("key")
    rate = amount(document, "rate", 1.0, 1 / 86_400, FASTEST) if "rate" in document else None
    places = tuple(dict.fromkeys(Place.parse(str(one)) for one in letters))
    return Chosen(places, None if key is None else str(key), bool(document.get("all")), rate)


def _changed(letter: DeadLetter, document: Mapping[str, Any]) -> tuple[bytes | None, Headers]:
    value = letter.value
    if "data" in document:
        value = orjson.dumps(document["data"])
    if "base64" in document:
        try:
            value = base64.b64decode(str(document["base64"]), validate=True)
        except binascii.Error as error:
            raise Invalid(f"base64: {error}") from None
    changes = document.get("headers", {})
    if not isinstance(changes, dict) or not all(v is None or isinstance(v, str) for v in changes.values()):
        raise Invalid("headers must be an object of texts, or null to remove one")
    kept = [(name, old) for name, old in letter.headers if name not in changes]
    return value, [
        *kept,
        *((check_id(name, "header"), check_id(new, name).encode()) for name, new in changes.items() if new is not None),
    ]


def _row(letter: DeadLetter, listed: Listed) -> dict[str, Any]:
    return {
        "id": str(listed.found.place),
        "subscription": letter.by,
        "state": listed.state,
        "key": key_text(letter.key),
        "cause": letter.cause,
        "attempt": letter.attempt,
        "held": listed.held,
        "origin": str(letter.origin),
        "written": format_instant(datetime.fromtimestamp(listed.found.written_ms / 1000, UTC)),
        "edited": None if letter.edited is None else str(letter.edited),
    }


def _inside(letter: DeadLetter) -> dict[str, Any]:
    found: dict[str, Any] = {
        "headers": [[name, value.decode("utf-8", "backslashreplace")] for name, value in letter.headers]
    }
    if letter.value is not None:
        found["base64"] = base64.b64encode(letter.value).decode()
    try:
        event = from_record(letter.headers, letter.value, origin=str(letter.origin), timestamp_ms=letter.timestamp_ms)
        found["event"] = orjson.Fragment(to_json_line(event))
    except (Invalid, orjson.JSONEncodeError) as error:
        found["unreadable"] = str(error)
    return found


_ONE = "/v1/deadletters/{subscription}"
_WORDS: tuple[Param[Any], ...] = (SUBSCRIPTION, KEY, ABOUT, TOPIC, LIMIT, BEFORE)

ROUTES = (
    Route("GET", "/v1/deadletters", list_letters, "deadletters:read", _WORDS, each=True),
    Route("GET", _ONE, parked_keys, "deadletters:read", of="subscription"),
    Route("POST", f"{_ONE}/replay", replay_letters, "deadletters:write", body=REPLAY, of="subscription"),
    Route("POST", f"{_ONE}/discard", discard_letters, "deadletters:write", body=DISCARD, of="subscription"),
    Route("GET", f"{_ONE}/{{letter}}", show_letter, "deadletters:read", of="subscription"),
    Route("PUT", f"{_ONE}/{{letter}}", edit_letter, "deadletters:write", body=EDIT, of="subscription"),
)
