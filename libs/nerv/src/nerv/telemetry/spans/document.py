# SPDX-License-Identifier: Apache-2.0
"""Spans as they are kept: JSON, in its own trace and in each trace that it is linked to. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from opentelemetry.trace import Link, SpanContext, StatusCode

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


def kept(spans: Iterable["ReadableSpan"]) -> Iterator[Kept]:
    """Each span in its trace; and in each trace that it is linked to, as a child of the span that the link leads to."""
    resource = service = instance = None
    for span in spans:
        if span.resource is not resource:  # the same one for all of a process, and slow to read
            resource = span.resource
            service, instance = [resource.attributes.get(name) for name in ("service.name", "service.instance.id")]
        context = span.context
        if context is None or span.start_time is None or span.end_time is None:
            continue
        trace, name = context.trace_id.to_bytes(16).hex(), _name(context)
        begun, ended, status = span.start_time // 1000, span.end_time // 1000, span.status
        failed = status.status_code is StatusCode.ERROR
        attributes: Any = span.attributes  # a view, whose `copy` takes a fourth of what `dict` does
        document: dict[str, Any] = {
            "trace": trace,
            "span": name,
            "parent": None if span.parent is None else _name(span.parent),
            "name": span.name,
            "kind": span.kind.name.lower(),
            "service": service,
            "instance": instance,
            "begun": begun,
            "microseconds": (span.end_time - span.start_time) // 1000,
            "error": (status.description or "")[:TEXT] if failed else None,
            "attributes": attributes.copy(),
        }
        yield Kept(trace, name, begun, ended, failed, _written(document))
        if span.links:
            for link in _others(span.links, context.trace_id):
                other = link.trace_id.to_bytes(16).hex()
                there = document | {"trace": other, "parent": _name(link), "of": trace}
                yield Kept(other, name, begun, ended, failed, _written(there))


def _written(document: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(document, default=repr)
    except TypeError:  # a user's text that is not UTF-8, or a number that JSON has no room for
        attributes = {_text(name): _text(value) for name, value in document["attributes"].items()}
        odd = {name: document[name] and _text(document[name]) for name in ("name", "error")}
        return orjson.dumps(document | odd | {"attributes": attributes})


def _text(value: object) -> str:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else ascii(value)


def _name(span: SpanContext) -> str:
    return span.span_id.to_bytes(8).hex()


def _others(links: Sequence[Link], own: int) -> Sequence[SpanContext]:
    """The first link to each trace but its own; what has attributes may lead to none."""
    found: dict[int, SpanContext] = {}
    for link in links:
        if link.context.is_valid:
            found.setdefault(link.context.trace_id, link.context)
    found.pop(own, None)
    return list(found.values())
