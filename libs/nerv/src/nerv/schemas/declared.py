# SPDX-License-Identifier: Apache-2.0
"""The schemas that come with a release: those of an app's events, and of the mesh's own messages."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import cast

import orjson
from google.protobuf.descriptor import Descriptor

import nerv.api
from nerv.app import App
from nerv.schemas.model import Format, Schema, schema_of
from nerv.schemas.protobuf import descriptors_of

GENERATED = "_pb2"


def of_events(app: App) -> list[Schema]:
    """The JSON Schema of each event type, as its model validates it; and of those that may come as a protobuf message, by its
    own full name, the descriptors of that.
    """
    models = [
        schema_of(spec.type, Format.JSON, orjson.dumps(spec.model.model_json_schema(mode="validation")))
        for spec in app.events.values()
    ]
    messages = {spec.message.DESCRIPTOR.full_name: spec.message for spec in app.events.values() if spec.message}
    return models + [
        Schema(name, Format.PROTOBUF, descriptors_of(cast("Descriptor", message.DESCRIPTOR)))
        for name, message in messages.items()
    ]


def of_messages() -> list[Schema]:
    """The descriptors of each message under `proto/`."""
    return [Schema(name, Format.PROTOBUF, text) for name, text in _messages()]


def _messages() -> Iterator[tuple[str, str]]:
    for module in pkgutil.walk_packages(nerv.api.__path__, f"{nerv.api.__name__}."):
        if module.name.endswith(GENERATED):
            file = importlib.import_module(module.name)
            for message in file.DESCRIPTOR.message_types_by_name.values():
                yield message.full_name, descriptors_of(message)
