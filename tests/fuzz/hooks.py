# SPDX-License-Identifier: Apache-2.0
"""What Schemathesis is told of the broker: which topics there are, and that a subscription should end. Run by its process."""

import os
from typing import Any

import schemathesis

TOPICS = os.environ.get("FUZZ_TOPICS", "").split(",")
MADE = ("fuzz.made.a", "fuzz.made.b")
PARTITIONS = 8  # of a topic that is made, so that Kafka lives


@schemathesis.serializer("application/x-protobuf")
def protobuf(context: Any, value: Any) -> bytes:
    """Bytes as they come: none of them is a message."""
    data = getattr(value, "data", value)
    return data if isinstance(data, bytes) else str(data).encode()


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Two of three times a topic that there is."""
    topic = (path_parameters or {}).get("topic")
    if path_parameters and topic is not None:
        of = len(str(topic)) % 3
        names = MADE if _operation(context) == "create" else TOPICS
        if of or _operation(context) == "create":
            path_parameters["topic"] = names[len(str(topic)) // 3 % len(names)]
    return path_parameters


@schemathesis.hook
def map_query(context: Any, query: dict[str, Any] | None) -> dict[str, Any] | None:
    """A subscription without an end would last for ever, one at a pace for hours."""
    if _operation(context) == "subscribe":
        query = {name: value for name, value in (query or {}).items() if name not in ("rate", "speed")}
        query.setdefault("to", "latest")
    return query


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """No topics of thousands of partitions, and nobody who waits for events."""
    if _operation(context) == "fetch" and isinstance(body, dict):
        body.pop("wait", None)
    if _operation(context) == "create" and isinstance(body, dict):
        partitions = body.get("partitions")
        if isinstance(partitions, int | float) and partitions > PARTITIONS:
            body["partitions"] = PARTITIONS
    return body


def _operation(context: Any) -> str:
    found: str = context.operation.definition.raw.get("operationId", "")
    return found
