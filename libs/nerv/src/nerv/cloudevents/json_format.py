# SPDX-License-Identifier: Apache-2.0
"""CloudEvents' JSON format: one event as one object (structured mode), many as an array (batch mode)."""

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from nerv.cloudevents.attributes import REQUIRED, SPEC_VERSION, TEXT_FIELDS
from nerv.errors import Invalid
from nerv.types import Event, check_id, format_instant, parse_instant, utc_now

_KNOWN = {*TEXT_FIELDS, "specversion", "time", "recordedtime", "sequence", "datacontenttype", "data", "data_base64",
          "traceparent", "tracestate"}  # fmt: skip


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
    if not isinstance(document, Mapping):
        raise Invalid(f"{where} must be a JSON object with the CloudEvents attributes")
    if document.get("specversion") != SPEC_VERSION:
        raise Invalid(f'{where} must have "specversion": "{SPEC_VERSION}"')
    unknown = [name for name in document if name not in _KNOWN]
    if unknown:
        raise Invalid(f"{where} has attributes that this mesh does not carry: {', '.join(sorted(unknown))}")
    fields: dict[str, str | None] = {}
    for attribute, field in TEXT_FIELDS.items():
        value = document.get(attribute)
        if value is None and attribute not in REQUIRED:
            fields[field] = None
        else:
            fields[field] = check_id(value, f"{where}.{attribute}")
    if require_time and document.get("time") is None:
        raise Invalid(f"{where}.time is needed here: a retry must carry the same time")
    content_type = document.get("datacontenttype", "application/json")
    return Event(
        id=fields["id"] or "",
        source=fields["source"] or "",
        type=fields["type"] or "",
        time=_time(document.get("time"), f"{where}.time") or utc_now(),
        data=_data(document, where),
        subject=fields["subject"],
        recorded_time=_time(document.get("recordedtime"), f"{where}.recordedtime"),
        sequence=_sequence(document.get("sequence"), where),
        correlation_id=fields["correlation_id"],
        causation_id=fields["causation_id"],
        dataschema=fields["dataschema"],
        content_type=check_id(content_type, f"{where}.datacontenttype"),
        partition_key=fields["partition_key"],
        via=fields["via"],
        traceparent=_optional(document.get("traceparent"), f"{where}.traceparent"),
        tracestate=_optional(document.get("tracestate"), f"{where}.tracestate"),
    )


def _optional(value: Any, what: str) -> str | None:
    return None if value is None else check_id(value, what)


def _time(value: Any, what: str) -> datetime | None:
    return None if value is None else parse_instant(value, what)


def _sequence(value: Any, where: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, str) and value.isdigit() and len(value) <= 19:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return value
    raise Invalid(f"{where}.sequence must be a whole number of at most 19 digits")


def _data(document: Mapping[str, Any], where: str) -> bytes:
    if "data_base64" in document:
        if "data" in document:
            raise Invalid(f"{where} has both data and data_base64; send one")
        try:
            return base64.b64decode(document["data_base64"], validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise Invalid(f"{where}.data_base64 is not base64") from None
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
