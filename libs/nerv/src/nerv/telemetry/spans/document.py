# SPDX-License-Identifier: Apache-2.0
"""A span as it is kept: JSON, in its own trace and in each trace that it is linked to. Pure."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from opentelemetry.trace import SpanContext, StatusCode

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

TEXT = 500  # characters of an error's text


class Kept(NamedTuple):
    """A span in one trace. Instants are microseconds since 1970."""

    trace: str
    span: str
    begun: int
    ended: int
    failed: bool
    document: bytes


def kept(span: "ReadableSpan") -> Iterator[Kept]:
    """The span in its trace; and in each trace that it is linked to, as a child of the span that the link leads to."""
    context = span.context
    if context is None or span.start_time is None or span.end_time is None:
        return
    trace, parent = f"{context.trace_id:032x}", span.parent and f"{span.parent.span_id:016x}"
    failed = span.status.status_code is StatusCode.ERROR
    document = _document(span, failed)
    begun, ended = span.start_time // 1000, span.end_time // 1000
    name = f"{context.span_id:016x}"

    def placed(trace: str, **where: str | None) -> Kept:
        return Kept(
            trace, name, begun, ended, failed, orjson.dumps({"trace": trace, "span": name, **where, **document})
        )

    yield placed(trace, parent=parent)
    for link in _others(span, trace):
        yield placed(f"{link.trace_id:032x}", parent=f"{link.span_id:016x}", of=trace)


def _others(span: "ReadableSpan", trace: str) -> Sequence[SpanContext]:
    """The first link to each trace but its own."""
    found: dict[int, SpanContext] = {}
    for link in span.links:
        found.setdefault(link.context.trace_id, link.context)
    found.pop(int(trace, 16), None)
    return list(found.values())


def _document(span: "ReadableSpan", failed: bool) -> dict[str, Any]:
    told = span.resource.attributes
    begun, ended = span.start_time or 0, span.end_time or 0
    return {
        "name": span.name,
        "kind": span.kind.name.lower(),
        "service": told.get("service.name"),
        "instance": told.get("service.instance.id"),
        "begun": begun // 1000,
        "microseconds": (ended - begun) // 1000,
        "error": (span.status.description or "")[:TEXT] if failed else None,
        "attributes": {name: list(v) if isinstance(v, tuple) else v for name, v in (span.attributes or {}).items()},
    }
