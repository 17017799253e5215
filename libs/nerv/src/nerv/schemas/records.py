# SPDX-License-Identifier: Apache-2.0
"""A subject as the value of a record of `<mesh>.schemas.v1`, and back."""

from collections.abc import Sequence

from nerv.api.event.v1 import schema_pb2
from nerv.cloudevents.proto_format import from_us, to_us
from nerv.schemas.model import Format, Schema, Version


def to_value(subject: str, versions: Sequence[Version]) -> bytes:
    """All versions of a subject."""
    return schema_pb2.SchemaSubject(
        subject=subject,
        versions=[
            schema_pb2.SchemaVersion(
                format=v.schema.format, text=v.schema.text, registered_time_us=to_us(v.time), registered_by=v.by
            )
            for v in versions
        ],
    ).SerializeToString()


def from_value(value: bytes) -> tuple[str, tuple[Version, ...]]:
    """Subject and versions. Raises protobuf's DecodeError for what no registry wrote."""
    message = schema_pb2.SchemaSubject.FromString(value)
    return message.subject, tuple(
        Version(
            number,
            Schema(message.subject, Format(one.format), one.text),
            from_us(one.registered_time_us),
            one.registered_by,
        )
        for number, one in enumerate(message.versions, start=1)
    )
