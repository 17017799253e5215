# SPDX-License-Identifier: Apache-2.0
"""The recent traces of the whole mesh over HTTP: those that are kept, and the spans of one."""

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol

from starlette.responses import Response

from nerv.cloudevents.proto_format import from_us
from nerv.errors import Invalid, NotFound
from nerv.service import Request, Route, respond
from nerv.service.params import SHOWN, choice, flag, number
from nerv.telemetry.spans.store import SpanStore, TraceTimes
from nerv.types import format_instant
from nerv_broker.settings import BrokerSettings

MOST_SPANS = 5_000  # that are read for a list, some 3 MB
DIGITS = frozenset("0123456789abcdef")
LIMIT = number("limit", 20, "How many traces at most.", low=1, high=200)


class Order(StrEnum):
    """Which traces come first."""

    LAST = "last"
    SLOW = "slow"


ORDER = choice("order", Order.LAST, "last: those with the latest span. slow: those that took the longest.")
ERRORS = flag("errors", "Only those with a span that failed.")


class HasSpans(Protocol):
    """What these handlers work with."""

    @property
    def settings(self) -> BrokerSettings:
        """What is kept."""
        ...

    @property
    def spans(self) -> SpanStore:
        """The spans of all services."""
        ...


async def traces(request: Request[HasSpans]) -> Response:
    """GET /v1/traces: the traces that are kept, the latest or the slowest first."""
    found = await request.deps.spans.times()
    if request.get(ERRORS):
        found = [one for one in found if one.failed]
    if request.get(ORDER) is Order.SLOW:
        found.sort(key=lambda one: -one.microseconds)
    shown = found[: request.get(LIMIT)]
    read = _readable(shown)
    spans = dict(zip(read, await request.deps.spans.traces(read), strict=True))
    return respond({"traces": [summary(one, spans.get(one.trace, [])) for one in shown], "kept": len(found)})


def _readable(shown: Sequence[TraceTimes]) -> list[str]:
    """Those whose spans are read, as long as there is room; of the others only their times are told."""
    read, room = [], MOST_SPANS
    for one in shown:
        if one.spans <= room:
            room -= one.spans
            read.append(one.trace)
    return read


async def trace(request: Request[HasSpans]) -> Response:
    """GET /v1/traces/{trace}: the spans of one trace, of all services, by when they began.

    A span of work on a batch is in each trace that it is linked to; `of` is then the trace that it was made in.
    """
    name = request.path("trace").lower()
    if len(name) != 32 or set(name) - DIGITS:
        raise Invalid(
            f"the id of a trace has 32 hexadecimal digits, which {name[:SHOWN]!r} has not; see GET /v1/traces"
        )
    found = await request.deps.spans.trace(name)
    if not found:
        bounds = request.deps.settings.spans
        raise NotFound(
            f"no span of trace {name} is kept: it was not sampled (OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG), or it is older "
            f"than {bounds.seconds} s, or newer ones took its room (NERV_SPANS__COUNT is {bounds.count}); GET /v1/traces, "
            "`nerv trace`, lists those that are"
        )
    return respond({"trace": name, "spans": [told(span) for span in found]})


def told(span: Mapping[str, Any]) -> dict[str, Any]:
    """A span as people and machines are told of it."""
    return {**span, "begun": format_instant(from_us(span["begun"]))}


def summary(times: TraceTimes, spans: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A trace in a line: what it began with, how long it took, and how many spans each service has in it.

    Of one whose spans were not read it is not told what it began with, nor of which services they are.
    """
    first = spans[0] if spans else {"name": None, "service": None}
    return {
        "trace": times.trace,
        "begun": format_instant(from_us(times.begun)),
        "milliseconds": times.microseconds / 1000,
        "name": first["name"],
        "service": first["service"],
        "spans": times.spans,
        "errors": sum(1 for span in spans if span["error"] is not None) or int(times.failed),
        "services": dict(Counter(span["service"] for span in spans)),
    }


ROUTES = (
    Route("GET", "/v1/traces", traces, "mesh:read", (ORDER, ERRORS, LIMIT)),
    Route("GET", "/v1/traces/{trace}", trace, "mesh:read"),
)
