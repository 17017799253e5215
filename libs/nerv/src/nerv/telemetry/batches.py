# SPDX-License-Identifier: Apache-2.0
"""Spans of work on a batch: one for each trace that has messages in it."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Protocol

from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from nerv.telemetry import names as n
from nerv.telemetry.tracing import Carrier, carrier, contexts_of, span


class Traced(Protocol):
    """What carries the trace context of the hop that it came by."""

    @property
    def traceparent(self) -> str | None:
        """W3C."""
        ...

    @property
    def tracestate(self) -> str | None:
        """W3C."""
        ...


@contextmanager
def process_spans(
    topic: str, group: str, events: Iterable[Traced], attributes: Mapping[str, AttributeValue] | None = None
) -> Iterator[dict[Carrier, Carrier]]:
    """A `process` span in each distinct trace of a batch; answers the context to pass on for each that came in."""
    with ExitStack() as stack:
        passed: dict[Carrier, Carrier] = {}
        for parent, count in contexts_of(Carrier(e.traceparent, e.tracestate) for e in events):
            named: dict[str, AttributeValue] = {
                n.SYSTEM: n.KAFKA,
                n.OPERATION_NAME: "process",
                n.OPERATION_TYPE: "process",
                n.DESTINATION: topic,
                n.GROUP: group,
                n.BATCH_COUNT: count,
                **(attributes or {}),
            }
            stack.enter_context(span(f"process {topic}", SpanKind.CONSUMER, parent=parent, attributes=named))
            passed[parent] = carrier()
        yield passed
