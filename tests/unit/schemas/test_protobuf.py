# SPDX-License-Identifier: Apache-2.0
"""Comparing protobuf messages by numbers and wire types."""

import orjson
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from nerv.errors import Invalid
from nerv.schemas import of_messages
from nerv.schemas.protobuf import check_descriptors, descriptors_of, faults

Field = descriptor_pb2.FieldDescriptorProto


def message(*fields: tuple[str, int, int], repeated: tuple[str, ...] = (), inner: int = Field.TYPE_STRING) -> str:
    """A message `test.M` with these fields (name, number, type); type MESSAGE is `test.Inner`, whose field 1 is `inner`."""
    file = descriptor_pb2.FileDescriptorProto(name="test.proto", package="test", syntax="proto3")
    file.message_type.add(name="Inner").field.add(name="x", number=1, type=inner, label=Field.LABEL_OPTIONAL)
    made = file.message_type.add(name="M")
    for name, number, kind in fields:
        label = Field.LABEL_REPEATED if name in repeated else Field.LABEL_OPTIONAL
        field = made.field.add(name=name, number=number, type=kind, label=label)
        if kind == Field.TYPE_MESSAGE:
            field.type_name = ".test.Inner"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return descriptors_of(pool.FindMessageTypeByName("test.M"))


A = ("a", 1, Field.TYPE_INT32)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (message(A), message(A, ("b", 2, Field.TYPE_STRING))),
        (message(A, ("b", 2, Field.TYPE_STRING)), message(A)),
        (message(A), message(("renamed", 1, Field.TYPE_INT32))),
        (message(A), message(("a", 1, Field.TYPE_INT64))),
        (message(("a", 1, Field.TYPE_BOOL)), message(A)),
        (message(("a", 1, Field.TYPE_STRING)), message(("a", 1, Field.TYPE_BYTES))),
        (message(("a", 1, Field.TYPE_MESSAGE)), message(("a", 1, Field.TYPE_MESSAGE), inner=Field.TYPE_BYTES)),
    ],
    ids=["added", "removed", "renamed", "wider", "bool", "bytes", "inner"],
)
def test_what_the_wire_bears_passes(old: str, new: str) -> None:
    """Bytes of the old message are read as the new one."""
    assert faults(old, new) == []


@pytest.mark.parametrize(
    ("old", "new", "path", "words"),
    [
        (message(A), message(("a", 1, Field.TYPE_STRING)), "/a", "is string, and was int32"),
        (message(("a", 1, Field.TYPE_INT64)), message(A), "/a", "is int32"),
        (message(A), message(("a", 1, Field.TYPE_SINT32)), "/a", "is sint32"),
        (message(("a", 1, Field.TYPE_BYTES)), message(("a", 1, Field.TYPE_STRING)), "/a", "is string"),
        (message(A), message(A, repeated=("a",)), "/a", "repeated"),
        (message(("a", 1, Field.TYPE_MESSAGE)), message(("a", 1, Field.TYPE_MESSAGE), inner=Field.TYPE_INT32), "/a/x", ""),
    ],
    ids=["type", "narrower", "zigzag", "utf8", "repeated", "inner"],
)  # fmt: skip
def test_what_the_wire_does_not_bear_is_named(old: str, new: str, path: str, words: str) -> None:
    """By the path of the field."""
    [fault] = faults(old, new)
    assert fault.path == path
    assert words in fault.detail


def test_every_message_of_the_mesh_has_a_schema_that_reads_itself() -> None:
    """Recursive ones included; none is larger than the limit."""
    found = of_messages()
    assert "nerv.api.history.v1.AppendBatch" in {schema.subject for schema in found}
    for schema in found:
        check_descriptors(schema.text)
        assert faults(schema.text, schema.text) == []


@pytest.mark.parametrize("text", ["{}", "[]", "nothing", orjson.dumps({"message": "a", "types": {"a": 3}}).decode()])
def test_what_describes_no_message_is_refused(text: str) -> None:
    """Whatever it is instead."""
    with pytest.raises(Invalid, match="describes no protobuf message"):
        check_descriptors(text)
