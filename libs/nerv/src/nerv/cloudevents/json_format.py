# SPDX-License-Identifier: Apache-2.0
"""CloudEvents' JSON format: one event as one object (structured mode), many as an array (batch mode)."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any

import orjson

from nerv.cloudevents.attributes import REQUIRED, SPEC_VERSION, TEXT_FIELDS
from nerv.errors import Invalid, TooLarge
from nerv.types import Event, check_id, check_ids, format_instant, parse_instant, utc_now
from nerv.types.event import JSON

_KNOWN = {*TEXT_FIELDS, "specversion", "time", "recordedtime", "sequence", "datacontenttype", "data", "data_base64",
          "traceparent", "tracestate"}  # fmt: skip

_PLAIN = {*REQUIRED, "specversion", "time", "subject", "datacontenttype", "data", "data_base64"}

# attribute, field of Event, and what an error calls it
_TEXTS = [(attribute, field, f".{attribute}") for attribute, field in TEXT_FIELDS.items()]
SHOWN = 300  # characters of names that are wrong
ALIKE = 8  # events from which on it pays to look at all of them at once
SHAPES = 256  # sets of attributes, in their order, that are remembered


def from_structured(body: bytes) -> Event[bytes]:
    """One event of `application/cloudevents+json`. Raises Invalid, naming what is wrong."""
    return from_mapping(parse_json(body))


def parse_json(body: bytes) -> Any:
    """JSON, or Invalid with the place of the fault."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"the body is not JSON: {error}") from None


def from_mapping(document: Any, where: str = "event", *, require_time: bool = False) -> Event[bytes]:
    """One event from its JSON object. A missing `time` becomes now, or is refused where a retry must carry the same one.

    Raises Invalid, naming the attribute.
    """
    try:
        return _event(document, require_time)
    except (Invalid, TooLarge) as error:
        raise type(error)(f"{where}{error.detail}") from None


def from_mappings(documents: Sequence[Any], *, require_time: bool = False) -> list[Event[bytes]]:
    """The events of a batch. Raises Invalid, naming the index and the attribute of the first fault."""
    try:
        return _alike(documents, require_time)
    except (KeyError, TypeError, ValueError, Invalid, TooLarge):
        pass  # not all of one writer, or something is wrong: each is looked at by itself
    found: list[Event[bytes]] = []
    try:
        for document in documents:
            found.append(_event(document, require_time))  # noqa: PERF401 - its length says where the fault is
    except (Invalid, TooLarge) as error:
        raise type(error)(f"events[{len(found)}]{error.detail}") from None
    return found


def _alike(documents: Sequence[Any], require_time: bool) -> list[Event[bytes]]:
    """Plain events with the same attributes, looked at attribute by attribute: that takes half of the time.

    Raises one of some errors for all others, and for whatever is wrong; `_event` then says what.
    """
    if len(documents) < ALIKE:
        raise Invalid("")
    names = tuple(documents[0])
    plain, _ = _shape(names)
    if not plain or "data_base64" in names or (require_time and "time" not in names):
        raise Invalid("")
    columns = dict(zip(names, zip(*map(itemgetter(*names), documents), strict=True), strict=True))
    if any(len(document) != len(names) for document in documents):
        raise Invalid("")
    if set(columns["specversion"]) != {SPEC_VERSION} or not {JSON}.issuperset(columns.get("datacontenttype", ())):
        raise Invalid("")
    for name in ("source", "type"):
        for value in set(columns[name]):
            check_id(value, name)
    for name in ("id", "subject"):
        check_ids(columns.get(name, ()), name)
    count = len(documents)
    times = columns.get("time")
    parsed = {text: parse_instant(text) for text in set(times)} if times is not None else {None: utc_now()}
    instants = [parsed[text] for text in times or [None] * count]
    data = [b"" if one is None else orjson.dumps(one) for one in columns.get("data", [None] * count)]
    subjects = columns.get("subject", [None] * count)
    return list(map(Event, columns["id"], columns["source"], columns["type"], instants, data, subjects))


def _event(document: Any, require_time: bool) -> Event[bytes]:
    """Details of errors begin with what comes behind the name of the event: names are made only where something is wrong."""
    if type(document) is not dict and not isinstance(document, Mapping):
        raise Invalid(" must be a JSON object with the CloudEvents attributes")
    get = document.get
    if get("specversion") != SPEC_VERSION:
        raise Invalid(f' must have "specversion": "{SPEC_VERSION}"')
    plain, texts = _shape(tuple(document))
    time = get("time")
    if require_time and time is None:
        raise Invalid(".time is needed here: a retry must carry the same time")
    instant = utc_now() if time is None else parse_instant(time, ".time")
    kind = get("datacontenttype", JSON)
    if plain and kind == JSON:
        return Event(
            check_id(get("id"), ".id"),
            check_id(get("source"), ".source"),
            check_id(get("type"), ".type"),
            instant,
            _data(document),
            _optional(get("subject"), ".subject"),
        )
    text = {
        field: check_id(value, what)
        for attribute, field, what in texts
        if (value := get(attribute)) is not None or attribute in REQUIRED
    }
    return Event(
        text["id"],
        text["source"],
        text["type"],
        instant,
        _data(document),
        text.get("subject"),
        _time(get("recordedtime"), ".recordedtime"),
        _sequence(get("sequence")),
        text.get("correlation_id"),
        text.get("causation_id"),
        text.get("dataschema"),
        check_id(kind, ".datacontenttype"),
        text.get("partition_key"),
        _optional(get("traceparent"), ".traceparent"),
        _optional(get("tracestate"), ".tracestate"),
        text.get("via"),
    )


@lru_cache(SHAPES)
def _shape(names: tuple[str, ...]) -> tuple[bool, list[tuple[str, str, str]]]:
    """Of the attributes that an event has: whether it is plain, and which of them are texts. The events of one writer are of one
    shape, so that what is not there is looked for once. Raises Invalid for names that are not known.
    """
    if unknown := set(names) - _KNOWN:
        raise Invalid(f" has attributes that this mesh does not carry: {', '.join(sorted(unknown))[:SHOWN]}")
    return _PLAIN.issuperset(names), [row for row in _TEXTS if row[0] in names or row[0] in REQUIRED]


def _optional(value: Any, what: str) -> str | None:
    return None if value is None else check_id(value, what)


def _time(value: Any, what: str) -> datetime | None:
    return None if value is None else parse_instant(value, what)


def _sequence(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 19:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return value
    raise Invalid(".sequence must be a whole number of at most 19 digits")


def _data(document: Mapping[str, Any]) -> bytes:
    if "data_base64" in document:
        if "data" in document:
            raise Invalid(" has both data and data_base64; send one")
        try:
            return base64.b64decode(document["data_base64"], validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise Invalid(".data_base64 is not base64") from None
    data = document.get("data")
    return b"" if data is None else orjson.dumps(data)


def to_structured(event: Event[bytes]) -> dict[str, Any]:
    """The event as a JSON-able mapping; JSON data as JSON, other data as base64."""
    document: dict[str, Any] = {"specversion": SPEC_VERSION}
    for attribute, field in TEXT_FIELDS.items():
        value = getattr(event, field)
        if value is not None:
            document[attribute] = value
    document["time"] = format_instant(event.time)
    if event.recorded_time is not None:
        document["recordedtime"] = format_instant(event.recorded_time)
    if event.sequence is not None:
        document["sequence"] = str(event.sequence)
    for attribute in ("traceparent", "tracestate"):
        if (value := getattr(event, attribute)) is not None:
            document[attribute] = value
    document["datacontenttype"] = event.content_type
    if event.data:
        document.update(_data_member(event))
    return document


def to_json_line(event: Event[bytes]) -> bytes:
    """The event as JSON on one line, for formats in which a line break ends an event.

    Data that are JSON are copied as they stand, but for line breaks between their tokens; within a string there is none.
    """
    return orjson.dumps(to_structured(event)).replace(b"\n", b" ").replace(b"\r", b" ")


def _data_member(event: Event[bytes]) -> dict[str, Any]:
    if event.content_type.partition(";")[0].endswith("json"):
        # A fragment is copied as it stands: the bytes were JSON at the door, and are not parsed a second time.
        return {"data": orjson.Fragment(event.data)}
    return {"data_base64": base64.b64encode(event.data).decode()}
