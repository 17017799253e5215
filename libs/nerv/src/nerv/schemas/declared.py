# SPDX-License-Identifier: Apache-2.0
"""The schemas that come with a release: those of an app's events, and of the mesh's own messages."""

from collections.abc import Iterator

import orjson

from nerv.api.event.v1 import event_pb2, schema_pb2, types_pb2
from nerv.api.history.v1 import history_pb2
from nerv.api.projection.v1 import projection_pb2
from nerv.api.sync.v1 import sync_pb2
from nerv.api.workflow.v1 import workflow_pb2
from nerv.app import App
from nerv.schemas.model import Format, Schema, schema_of
from nerv.schemas.protobuf import descriptors_of

FILES = (event_pb2, schema_pb2, types_pb2, history_pb2, projection_pb2, sync_pb2, workflow_pb2)


def of_events(app: App) -> list[Schema]:
    """The JSON Schema of each event type, as its model validates it."""
    return [
        schema_of(spec.type, Format.JSON, orjson.dumps(spec.model.model_json_schema(mode="validation")))
        for spec in app.events.values()
    ]


def of_messages() -> list[Schema]:
    """The descriptors of each message under `proto/`."""
    return [Schema(name, Format.PROTOBUF, text) for name, text in _messages()]


def _messages() -> Iterator[tuple[str, str]]:
    for file in FILES:
        for message in file.DESCRIPTOR.message_types_by_name.values():
            yield message.full_name, descriptors_of(message)
