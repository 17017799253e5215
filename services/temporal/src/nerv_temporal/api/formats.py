# SPDX-License-Identifier: Apache-2.0
"""The forms of an answer: a page of JSON or protobuf, or a stream of lines (NDJSON) or of server-sent events. Pure."""

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

import orjson

from nerv.api.event.v1 import event_pb2
from nerv.client.streams import PROTOBUF
from nerv.cloudevents import from_proto, to_json_line
from nerv.errors import NervError
from nerv.service import Request


class Format(Enum):
    """What `Accept` asks for."""

    JSON = "application/json"
    PROTOBUF = PROTOBUF
    NDJSON = "application/x-ndjson"
    SSE = "text/event-stream"

    @property
    def streamed(self) -> bool:
        """Whether the answer comes as it is read, however long it is."""
        return self in (Format.NDJSON, Format.SSE)


FORMS = tuple(form.value for form in Format)


def format_of(request: Request[Any]) -> Format:
    """The first form of `Accept` that there is; JSON where none is named."""
    for part in (request.header("accept") or "").split(","):
        kind = part.partition(";")[0].strip().lower()
        for found in Format:
            if found.value == kind:
                return found
    return Format.JSON


def events(shape: Format, slice_: Iterable[tuple[str, event_pb2.Event]]) -> bytes:
    """Events, each with the position after it."""
    return b"".join(_EVENT[shape](position, to_json_line(from_proto(event))) for position, event in slice_)


def position(shape: Format, text: str) -> bytes:
    """How far the read has come; it tells a reader who waits that somebody is there."""
    return f"id: {text}\n\n".encode() if shape is Format.SSE else orjson.dumps({"position": text}) + b"\n"


def end(shape: Format, text: str) -> bytes:
    """That this was all, so that a connection that broke is told from an answer that is whole."""
    if shape is Format.SSE:
        return f"id: {text}\nevent: end\ndata: {{}}\n\n".encode()
    return orjson.dumps({"position": text, "end": True}) + b"\n"


def error(shape: Format, found: NervError) -> bytes:
    """What went wrong in the middle of an answer."""
    document = orjson.dumps(found.problem(), default=str)
    return b"event: error\ndata: " + document + b"\n\n" if shape is Format.SSE else b'{"error":' + document + b"}\n"


def _sse(position: str, document: bytes) -> bytes:
    return b"id: " + position.encode() + b"\ndata: " + document + b"\n\n"


def _ndjson(position: str, document: bytes) -> bytes:
    return b'{"position":"' + position.encode() + b'","event":' + document + b"}\n"


_EVENT: dict[Format, Callable[[str, bytes], bytes]] = {Format.SSE: _sse, Format.NDJSON: _ndjson}
