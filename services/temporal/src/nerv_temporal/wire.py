# SPDX-License-Identifier: Apache-2.0
"""Append requests and their outcomes as protobuf messages, checked as they come in."""

import orjson

from nerv.api.history.v1 import history_pb2
from nerv.app import App
from nerv.cloudevents import from_proto
from nerv.cloudevents.json_format import parse_json
from nerv.cloudevents.proto_format import to_us
from nerv.errors import Invalid, NervError, Refused
from nerv.limits import Limits, check_batch, check_event_size, check_json_depth
from nerv.protocols import Appended, AppendOutcome, AppendRequest, Expected
from nerv.protocols.history import Expect
from nerv.types import Event, check_id, check_version
from nerv.types.event import JSON

OWNERS_TYPES = "nerv.history."  # of fences, closings and the like: a tail would take such an event for one
WRAPPED = "application/cloudevents"  # a tail would read the event from the data
_OPTIONAL = ("correlation_id", "causation_id", "dataschema", "partition_key", "via", "traceparent")

_EXPECT = {
    history_pb2.EXPECT_ANY: Expect.ANY,
    history_pb2.EXPECT_NONE: Expect.NONE,
    history_pb2.EXPECT_EXISTS: Expect.EXISTS,
    history_pb2.EXPECT_EXACT: Expect.EXACT,
}


def check_append(request: AppendRequest, app: App, limits: Limits) -> None:
    """Everything that can be refused before a tick: names, sizes, and the schema of each type that the app declares.

    What is accepted is read back from its record as it was. Raises Invalid, TooLarge or SchemaMismatch.
    """
    check_id(request.stream, "stream")
    check_batch(len(request.events), limits)
    for event in request.events:
        _check_envelope(event)
        check_event_size(len(event.data), limits)
        if event.data and event.content_type.partition(";")[0].endswith("json"):
            check_json_depth(event.data, limits.json_depth)
            if not app.knows(event.type):
                parse_json(event.data)  # as whoever reads the stream as JSON will
        if app.knows(event.type):
            app.decode(event)


def _check_envelope(event: Event[bytes]) -> None:
    check_id(event.id, "event id")
    check_id(event.source, "event source")
    if check_id(event.type, "event type").startswith(OWNERS_TYPES):
        raise Invalid(
            f"{event.type} is a record of owners about themselves, which no event may look like; take another type"
        )
    for name in _OPTIONAL:
        value = getattr(event, name)
        if value is not None:
            check_id(value, name.replace("_", " "))
    if event.tracestate is not None and not event.tracestate.isprintable():
        raise Invalid("tracestate contains a control character or another one that cannot be printed")
    if event.content_type != JSON and check_id(event.content_type, "content type").lower().startswith(WRAPPED):
        raise Invalid(f"{event.content_type} says that the data are an event themselves; send that event as it is")


def read_batch(body: bytes, app: App, limits: Limits) -> list[AppendRequest | NervError]:
    """The requests of an AppendBatch, each checked for itself. Raises Invalid or TooLarge for the batch as such."""
    try:
        message = history_pb2.AppendBatch.FromString(body)
    except Exception as error:  # protobuf's DecodeError is not one type over its implementations
        raise Invalid(f"the body is not a nerv.api.history.v1.AppendBatch: {error}") from None
    check_batch(len(message.requests), limits)
    return [read_append(one, app, limits) for one in message.requests]


def read_append(message: history_pb2.AppendRequest, app: App, limits: Limits) -> AppendRequest | NervError:
    """One request, checked; or why it is refused."""
    try:
        expect = _EXPECT.get(message.expect)
        if expect is None:
            raise Invalid("expect must say any, none, exists or exact")
        check_version(message.expected_version, "expected_version")
        events: list[Event[bytes]] = [from_proto(event) for event in message.events]
        request = AppendRequest(message.stream, events, Expected(expect, message.expected_version))
        check_append(request, app, limits)
    except Refused as refusal:
        return refusal
    except (OverflowError, ValueError) as error:
        return Invalid(f"an event is malformed: {error}")
    return request


def reply_to(outcome: AppendOutcome, topic: str) -> history_pb2.AppendReply:
    """The message of an outcome."""
    reply = history_pb2.AppendReply()
    if isinstance(outcome, Appended):
        done = reply.appended
        done.first_version, done.last_version = outcome.first_version, outcome.last_version
        done.position.topic, done.position.partition = topic, outcome.partition
        done.position.offset, done.duplicate = outcome.offset, outcome.duplicate
        done.recorded_time_us = to_us(outcome.recorded_time)
        return reply
    problem = reply.refused if isinstance(outcome, Refused) else reply.failed
    document = outcome.problem()
    problem.type, problem.title, problem.detail = document["type"], document["title"], document["detail"]
    problem.status = outcome.status
    problem.retry_after_seconds = outcome.retry_after or 0.0
    problem.errors = orjson.dumps(outcome.errors) if outcome.errors else b""
    return reply
