# SPDX-License-Identifier: Apache-2.0
"""What parsers promise, whatever comes: an answer, or an error of ours that refuses it; what they took can be written and read
again. One bytes object in, nothing out; raises what must not happen.
"""

from collections.abc import Callable
from contextlib import suppress

from nerv.cloudevents import from_record, to_headers, to_json_line
from nerv.cloudevents.http_binding import BATCH, STRUCTURED, from_http
from nerv.cloudevents.json_format import from_structured
from nerv.errors import Refused
from nerv.kafka.deadletters import Origin, Place
from nerv.limits import Limits
from nerv.types import Event
from nerv_broker.subscriptions.choosing import Wanted, chooser
from nerv_broker.subscriptions.positions import parse_place
from nerv_broker.topics.records import outgoing

LIMITS = Limits(event=4096, batch=20)
NAMES = (
    "ce-id", "ce-source", "ce-type", "ce-specversion", "ce-time", "ce-subject", "ce-partitionkey", "ce-dataschema",
    "ce-correlationid", "ce-causationid", "ce-via", "content-type",
)  # fmt: skip
RECORD_NAMES = (
    *(name.replace("-", "_", 1) for name in NAMES[:-1]),
    "ce_sequence",
    "ce_recordedtime",
    "content-type",
    "traceparent",
)


def structured(data: bytes) -> None:
    """One event as JSON."""
    _taken(lambda: from_http({"content-type": STRUCTURED}, data, LIMITS))


def batch(data: bytes) -> None:
    """Many events as JSON."""
    _taken(lambda: from_http({"content-type": BATCH}, data, LIMITS))


def binary(data: bytes) -> None:
    """Headers, a line each, and the data behind an empty line."""
    head, _, body = data.partition(b"\n\n")
    lines = [line.decode("latin-1") for line in head.split(b"\n")]
    headers = dict(zip(NAMES, lines, strict=False))
    _taken(lambda: from_http({"ce-id": "1"} | headers, body, LIMITS))


def record(data: bytes) -> None:
    """A record of Kafka with these headers."""
    head, _, value = data.partition(b"\n\n")
    headers = [("ce_id", b"1"), *zip(RECORD_NAMES, head.split(b"\n"), strict=False)]
    try:
        event = from_record(headers, value, origin="t/0/1", timestamp_ms=1)
    except Refused:
        return
    _line(event)


def position(data: bytes) -> None:
    """Where somebody wants to read from."""
    _refused(lambda: parse_place(data.decode("utf-8", "replace"), 4, "from"))


def expression(data: bytes) -> None:
    """What somebody wants to see, of what may be there."""
    where, _, document = data.partition(b"\n")
    event = Event("1", "s", "t", _NOW, document)
    _refused(lambda: chooser(Wanted(where=where.decode("utf-8", "replace")))(event))


def records(data: bytes) -> None:
    """Bare records as JSON."""
    _refused(lambda: outgoing("t", 4, data, LIMITS))


def names(data: bytes) -> None:
    """Origins and places of dead letters."""
    text = data.decode("utf-8", "replace")
    _refused(lambda: Origin.parse(text))
    _refused(lambda: Place.parse(text))


TARGETS = (structured, batch, binary, record, position, expression, records, names)
EXAMPLES: dict[str, bytes] = {
    "structured": b'{"specversion":"1.0","id":"1","source":"s","type":"t","time":"2013-01-15T12:00:00Z","data":{"a":[1]}}',
    "batch": b'[{"specversion":"1.0","id":"1","source":"s","type":"t","sequence":"3","data_base64":"AAE="}]',
    "binary": b'1\ns\nt\n1.0\n2013-01-15T12:00:00Z\nsub\nkey\n\n{"a":1}',
    "record": b'1\ns\nt\n1.0\n2013-01-15T12:00:00Z\nsub\nkey\n\n\n\n\n7\n2013-01-15T12:00:00Z\napplication/json\n\n{"a":1}',
    "position": b"0:42,1:17",
    "expression": b'a > `1`\n{"a":2}',
    "records": b'[{"key":"a","value_base64":"AAE=","headers":{"a":"b"},"partition":3}]',
    "names": b"t/0/42",
}


def _taken(read: Callable[[], list[Event[bytes]]]) -> None:
    try:
        events = read()
    except Refused:
        return
    for event in events:
        again = from_record(to_headers(event), event.data, origin="t/0/1", timestamp_ms=1)
        if again != event:
            raise AssertionError(f"{event} was written, {again} was read")
        _line(event)


def _line(event: Event[bytes]) -> None:
    """As subscribers get it. What is not JSON though it says so cannot be written, and they are told."""
    try:
        line = to_json_line(event)
    except ValueError:
        return
    if b"\n" in line or b"\r" in line:
        raise AssertionError(f"{line!r} has more than one line")
    with suppress(Refused):
        from_structured(line)


def _refused(read: Callable[[], object]) -> None:
    with suppress(Refused):
        read()


_NOW = from_structured(EXAMPLES["structured"]).time
