# SPDX-License-Identifier: Apache-2.0
"""CloudEvents over HTTP: structured, batch and binary mode."""

from collections.abc import Mapping

from nerv.cloudevents.attributes import TEXT_FIELDS
from nerv.cloudevents.json_format import from_mapping, from_mappings, parse_json
from nerv.errors import Invalid
from nerv.limits import Limits, check_batch, check_event_size, check_json_depth
from nerv.types import Event, check_id, parse_instant, utc_now

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"


def from_http(
    headers: Mapping[str, str], body: bytes, limits: Limits, *, require_time: bool = False
) -> list[Event[bytes]]:
    """The events of one request, by its content type. `headers` have lower-case names.

    An event without `time` happened now, unless `require_time`: then it is refused, for a retry would tell another time.

    Raises Invalid or TooLarge; then no event of the request counts.
    """
    content_type = headers.get("content-type", "")
    mode = content_type.partition(";")[0].strip().lower()
    if mode in (STRUCTURED, BATCH):
        check_json_depth(body, limits.json_depth)
    if mode == BATCH:
        documents = parse_json(body)
        if not isinstance(documents, list):
            raise Invalid(f"{BATCH} must be a JSON array of events")
        check_batch(len(documents), limits)
        events = from_mappings(documents, require_time=require_time)
    elif mode == STRUCTURED:
        events = [from_mapping(parse_json(body), require_time=require_time)]
    elif "ce-id" in headers:
        events = [_binary(headers, body, content_type, limits, require_time)]
    else:
        raise Invalid(f"send a CloudEvent: content-type {STRUCTURED}, {BATCH}, or ce-id, ce-source and ce-type headers")
    for event in events:
        check_event_size(len(event.data), limits)
    return events


def _binary(
    headers: Mapping[str, str], body: bytes, content_type: str, limits: Limits, require_time: bool
) -> Event[bytes]:
    _check_headers(headers, limits)
    if headers.get("ce-specversion") != "1.0":
        raise Invalid("binary mode needs the header ce-specversion: 1.0")
    content_type = content_type or "application/json"
    if content_type.partition(";")[0].endswith("json") and body:
        check_json_depth(body, limits.json_depth)
        parse_json(body)
    fields: dict[str, str | None] = {}
    for attribute, field in TEXT_FIELDS.items():
        value = headers.get(f"ce-{attribute}")
        fields[field] = (
            check_id(value, f"ce-{attribute}") if value is not None or attribute in ("id", "source", "type") else None
        )
    time = headers.get("ce-time")
    if time is None and require_time:
        raise Invalid("ce-time is needed here: a retry must carry the same time")
    return Event(
        id=fields["id"] or "",
        source=fields["source"] or "",
        type=fields["type"] or "",
        time=parse_instant(time, "ce-time") if time else utc_now(),
        data=body,
        subject=fields["subject"],
        correlation_id=fields["correlation_id"],
        causation_id=fields["causation_id"],
        dataschema=fields["dataschema"],
        content_type=check_id(content_type, "content-type"),
        partition_key=fields["partition_key"],
        via=fields["via"],
    )


def _check_headers(headers: Mapping[str, str], limits: Limits) -> None:
    if len(headers) > limits.headers:
        raise Invalid(f"the request has {len(headers)} headers; the limit is {limits.headers}")
    for name, value in headers.items():
        if len(value) > limits.header:
            raise Invalid(f"header {name} has {len(value)} characters; the limit is {limits.header}")
