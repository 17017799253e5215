# SPDX-License-Identifier: Apache-2.0
"""The AsyncAPI 3 document of an app: its topics, keys, consumer groups and schemas, read from its registry. Pure.

https://www.asyncapi.com/docs/reference/specification/v3.1.0, with the Kafka bindings of
https://github.com/asyncapi/bindings/tree/master/kafka
"""

import re
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

from pydantic.json_schema import models_json_schema

from nerv.app import App, EventSpec, TopicSpec
from nerv.topics import full

SPECIFICATION = "3.1.0"
BINDING = "0.5.0"
SCHEMAS = "#/components/schemas/"
# In the form of a JSON Schema, each header that a CloudEvent has on Kafka in binary mode.
_HEADERS = {
    "ce_specversion": {"type": "string", "const": "1.0"},
    "ce_id": {"type": "string", "description": "The id of the event; with ce_source it is the only one."},
    "ce_source": {"type": "string"},
    "ce_type": {"type": "string"},
    "ce_time": {"type": "string", "format": "date-time", "description": "When it happened, UTC."},
    "ce_subject": {"type": "string", "description": "The stream or entity."},
    "ce_correlationid": {"type": "string"},
    "ce_causationid": {"type": "string", "description": "The id of the event or command that caused it."},
    "content-type": {"type": "string"},
    "traceparent": {"type": "string", "description": "W3C trace context of the hop."},
}
_NEEDED = ["ce_specversion", "ce_id", "ce_source", "ce_type"]


def asyncapi(app: App, mesh: str = "nerv", bootstrap: str | None = None) -> dict[str, Any]:
    """The document, JSON-able. `bootstrap` names a Kafka where one is known; it holds no secrets."""
    read = {reaction.event_type for reaction in app.reactions.values()}
    specs = [spec for _, spec in sorted(app.events.items()) if spec.topic is not None or spec.type in read]
    document: dict[str, Any] = {
        "asyncapi": SPECIFICATION,
        "info": {
            "title": f"NERV app {app.name}",
            "version": version("nerv-mesh"),
            "description": f"Topics of the app `{app.name}` on the mesh `{mesh}`. Events are CloudEvents 1.0 in binary mode.",
        },
        "defaultContentType": "application/json",
        "channels": {_id(name): found for name, found in sorted(_channels(app, mesh, specs))},
        "operations": dict(_operations(app, mesh, specs)),
        "components": {
            "messages": {_id(spec.type): _message(spec) for spec in specs},
            "messageTraits": {
                "cloudevent": {"headers": {"type": "object", "properties": _HEADERS, "required": _NEEDED}}
            },
            "schemas": _schemas(specs),
        },
    }
    if bootstrap is not None:
        document["servers"] = {"kafka": {"host": bootstrap, "protocol": "kafka"}}
    return document


def _id(name: str) -> str:
    # Names of components may have letters, digits, dots, dashes and underscores.
    return re.sub(r"[^a-zA-Z0-9._-]", "_", name)


def _channels(app: App, mesh: str, specs: Iterable[EventSpec]) -> Iterable[tuple[str, Any]]:
    """Of the app's topics, and of those of the mesh that it reacts to."""
    types: dict[str, set[str]] = {name: set() for name in app.all_topics()}
    for spec in specs:
        if spec.topic is not None:
            types[spec.topic].add(spec.type)
    for reaction in app.reactions.values():
        types.setdefault(full(mesh, reaction.topic), set()).add(reaction.event_type)
    for name, found in types.items():
        yield name, _channel(name, app.all_topics().get(name), sorted(found))


def _channel(name: str, topic: TopicSpec | None, types: Iterable[str]) -> dict[str, Any]:
    binding: dict[str, Any] = {"topic": name, "bindingVersion": BINDING}
    if topic is not None:
        binding["partitions"] = topic.partitions
    if topic is not None and topic.config:
        binding["topicConfiguration"] = {name: _config(name, value) for name, value in topic.config.items()}
    return {
        "address": name,
        "messages": {_id(kind): {"$ref": f"#/components/messages/{_id(kind)}"} for kind in types},
        "bindings": {"kafka": binding},
    }


def _config(name: str, value: str) -> Any:
    if name == "cleanup.policy":
        return value.split(",")
    return int(value) if re.fullmatch(r"-?\d+", value) else value


def _operations(app: App, mesh: str, specs: Iterable[EventSpec]) -> Iterable[tuple[str, Any]]:
    specs = list(specs)
    for name in sorted({spec.topic for spec in specs if spec.topic is not None}):
        types = [spec.type for spec in specs if spec.topic == name]
        yield f"publish-{_id(name)}", _operation("receive", name, types, f"Anybody may publish to {name}.")
    for reaction in sorted(app.reactions.values(), key=lambda reaction: reaction.name):
        summary = (reaction.function.__doc__ or f"React to {reaction.event_type}.").strip().partition("\n")[0]
        operation = _operation("receive", full(mesh, reaction.topic), [reaction.event_type], summary)
        group = {"type": "string", "enum": [f"{mesh}.broker"]}
        operation["bindings"] = {"kafka": {"groupId": group, "bindingVersion": BINDING}}
        yield f"react-{_id(reaction.name)}", operation
    for name in sorted({spec.topic for spec in specs if spec.topic is not None}):
        types = [spec.type for spec in specs if spec.topic == name]
        yield f"consume-{_id(name)}", _operation("send", name, types, f"Anybody may consume {name}.")


def _operation(action: str, topic: str, types: Iterable[str], summary: str) -> dict[str, Any]:
    channel = f"#/channels/{_id(topic)}"
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{_id(name)}"} for name in types],
    }


def _message(spec: EventSpec) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": spec.type,
        "title": spec.model.__name__,
        "contentType": "application/json",
        "payload": {"$ref": f"{SCHEMAS}{_id(spec.type)}"},
        "traits": [{"$ref": "#/components/messageTraits/cloudevent"}],
    }
    key = {"type": "string", "description": f"The field {spec.key}, or the subject." if spec.key else "The subject."}
    made["bindings"] = {"kafka": {"key": key, "bindingVersion": BINDING}}
    told = [spec.model.__doc__.strip()] if spec.model.__doc__ else []
    if spec.message is not None:
        name = spec.message.DESCRIPTOR.full_name
        told.append(f"As `application/protobuf` it is the message `{name}`, with fields of the same names.")
        made["x-protobuf-message"] = name
    if told:
        made["description"] = "\n\n".join(told)
    return made


def _schemas(specs: Iterable[EventSpec]) -> dict[str, Any]:
    specs = list(specs)
    template = f"{SCHEMAS}{{model}}"
    found, document = models_json_schema([(spec.model, "validation") for spec in specs], ref_template=template)
    shared: dict[str, Any] = document.get("$defs", {})
    return shared | {_id(spec.type): found[spec.model, "validation"] for spec in specs}
