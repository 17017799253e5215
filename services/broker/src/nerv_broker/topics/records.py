# SPDX-License-Identifier: Apache-2.0
"""Bare records into a topic, as a bare Kafka client writes them: key, value and headers as bytes, the partition if need be."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Protocol

from starlette.responses import Response

from nerv.app import Way
from nerv.cloudevents.json_format import parse_json
from nerv.errors import Invalid, NervError, Refused, UnknownOutcome
from nerv.kafka import Delivery, Outgoing, Position, Producer
from nerv.limits import Limits, check_batch, check_event_size, check_json_depth
from nerv.service import JSON, Request, Route, respond
from nerv.service.params import Body
from nerv_broker.topics.handlers import HasTopics, known

BASE64 = {"type": "string", "contentEncoding": "base64"}
RECORD: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "key": {"type": ["string", "null"]},
        "key_base64": BASE64,
        "value": {"type": ["string", "null"]},
        "value_base64": BASE64,
        "headers": {"type": "object", "additionalProperties": {"type": "string"}},
        "partition": {"type": "integer", "minimum": 0},
    },
    "additionalProperties": False,
}
RECORDS = Body({JSON: {"type": "array", "items": RECORD, "minItems": 1}}, "Records; texts are UTF-8.")
ANY_PARTITION = -1


class HasProducer(HasTopics, Protocol):
    """What this handler works with."""

    @property
    def producer(self) -> Producer:
        """Who writes."""
        ...


async def publish_records(request: Request[HasProducer]) -> Response:
    """POST /v1/topics/{topic}/records: bare records to a topic that no app declares; answered once Kafka has them, with the place
    of each.

    At least once: a record has no id by which a repeat could be told. What has a schema or middleware takes events alone.
    """
    deps = request.deps
    topic = await known(request)
    if topic in deps.app.all_topics() or deps.app.chain(topic, Way.PUBLISH):
        raise Refused(f"{topic} is declared by app {deps.app.name}; POST events to /v1/topics/{topic}/events")
    partitions = await deps.catalog.partitions(topic)
    records = outgoing(topic, partitions, request.body, deps.settings.limits)
    deliveries = await deps.producer.publish(records)
    return _answer(deliveries)


def outgoing(topic: str, partitions: int, body: bytes, limits: Limits) -> list[Outgoing]:
    """The records of a request. Raises Invalid, naming the first that is wrong, or TooLarge."""
    check_json_depth(body, limits.json_depth)
    documents = parse_json(body)
    if not isinstance(documents, list):
        raise Invalid('the body must be a JSON array of records such as {"key": "a", "value": "1"}')
    check_batch(len(documents), limits)
    found = [_record(topic, partitions, document, f"records[{i}]", limits) for i, document in enumerate(documents)]
    for one in found:
        check_event_size(len(one.value or b""), limits)
    return found


def _record(topic: str, partitions: int, document: Any, where: str, limits: Limits) -> Outgoing:
    if not isinstance(document, dict) or document.keys() - RECORD["properties"].keys():
        raise Invalid(f"{where} must be an object with some of {', '.join(RECORD['properties'])}")
    partition = document.get("partition", ANY_PARTITION)
    if isinstance(partition, bool) or not isinstance(partition, int) or not ANY_PARTITION <= partition < partitions:
        raise Invalid(f"{where}.partition must be a number from 0 to {partitions - 1}")
    key, value = _bytes(document, "key", where), _bytes(document, "value", where)
    if len(key or b"") > limits.header:
        raise Invalid(f"{where}.key has more than {limits.header} bytes (NERV_LIMITS__HEADER)")
    return Outgoing(topic, value, key, _headers(document.get("headers") or {}, where, limits), partition)


def _bytes(document: Mapping[str, Any], name: str, where: str) -> bytes | None:
    text, packed = document.get(name), document.get(f"{name}_base64")
    if text is not None and packed is not None:
        raise Invalid(f"{where} has both {name} and {name}_base64; send one")
    if packed is not None:
        try:
            return base64.b64decode(packed, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise Invalid(f"{where}.{name}_base64 is not base64") from None
    if text is not None and not isinstance(text, str):
        raise Invalid(f"{where}.{name} must be a string; what is no text goes as {name}_base64")
    return None if text is None else text.encode()


def _headers(found: Any, where: str, limits: Limits) -> list[tuple[str, bytes]]:
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise Invalid(f"{where}.headers must be an object of strings")
    if len(found) > limits.headers:
        raise Invalid(f"{where} has {len(found)} headers; the limit is {limits.headers} (NERV_LIMITS__HEADERS)")
    for name, value in found.items():
        if not name.isprintable() or not name or len(name) + len(value) > limits.header:
            raise Invalid(f"{where}.headers: a name is printable, and with its value within NERV_LIMITS__HEADER")
    return [(name, value.encode()) for name, value in found.items()]


def _answer(deliveries: list[Delivery]) -> Response:
    places: list[dict[str, Any]] = [
        {"partition": one.partition, "offset": one.offset}
        if isinstance(one, Position)
        else {"error": type(one).__name__, "detail": one.detail}
        for one in deliveries
    ]
    failed = [one for one in deliveries if isinstance(one, NervError)]
    if not failed:
        return respond({"records": places})
    if len(failed) == len(deliveries) and len({type(one) for one in failed}) == 1:
        raise type(failed[0])(failed[0].detail, errors=places, retry_after=failed[0].retry_after)
    raise UnknownOutcome(
        f"{len(failed)} of {len(deliveries)} records are not surely written, the others are; "
        "a repeat may write some a second time",
        errors=places,
    )


ROUTES = (Route("POST", "/v1/topics/{topic}/records", publish_records, "topics:publish", body=RECORDS, of="topic"),)
