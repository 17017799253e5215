# SPDX-License-Identifier: Apache-2.0
"""A record of a topic as subscribers get it: its event behind the topic's middleware, and what is sent of it."""

import base64
from typing import NamedTuple

import orjson

from nerv.cloudevents import from_record, to_headers, to_json_line
from nerv.errors import Invalid
from nerv.kafka import Received
from nerv.kafka.deadletters import where
from nerv.types import Event
from nerv_broker.middleware import Chains


class Line(NamedTuple):
    """`event` is None where there is none to choose by: then `dropped` says whether a middleware took it, or it is malformed.

    `bare` is the record itself, written out for who asked for records.
    """

    partition: int
    offset: int
    origin: str
    event: Event[bytes] | None
    dropped: bool = False
    bare: bytes | None = None


def line(record: Received, topic: str, chains: Chains) -> Line:
    """What a record holds. The middleware comes before any choice of a subscriber: who may not see a field cannot find out what
    it holds by choosing, either.
    """
    partition, offset, origin = record.partition(), record.offset(), where(record)
    try:
        event = from_record(record.headers(), record.value(), origin=origin, timestamp_ms=record.timestamp()[1])
    except Invalid:
        return Line(partition, offset, origin, None)
    [behind] = chains.delivered(topic, [event])
    if behind.error is not None:
        return Line(partition, offset, origin, None)
    return Line(partition, offset, origin, behind.event, behind.event is None)


def body(found: Line) -> bytes:
    """The server-sent event, but for its id. What is none is told, too: the reader must see what it cannot read."""
    if found.bare is not None:
        return b"event: record\ndata: " + found.bare + b"\n\n"
    try:
        if found.event is None:
            raise Invalid(f"record {found.origin} is no CloudEvent, or was refused by a middleware")
        return b"data: " + to_json_line(found.event) + b"\n\n"
    except (Invalid, orjson.JSONEncodeError) as error:
        document = orjson.dumps({"origin": found.origin, "detail": str(error)})
        return b"event: malformed\ndata: " + document + b"\n\n"


def with_record(found: Line, record: Received, chains: Chains, topic: str) -> Line:
    """The same with the record as it stands in Kafka; behind a middleware that may change it, as its event has come out."""
    if found.dropped or (found.event is None and chains.changes(topic)):
        return found
    key, value, headers = record.key(), record.value(), record.headers() or []
    if found.event is not None and chains.changes(topic):
        key, value, headers = None, found.event.data, to_headers(found.event)
    document = {
        "partition": found.partition,
        "offset": found.offset,
        "timestamp": record.timestamp()[1],
        "key": _packed(key),
        "value": _packed(value),
        "headers": [[name, _packed(data)] for name, data in headers],
    }
    return found._replace(bare=orjson.dumps(document))


def _packed(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()
