# SPDX-License-Identifier: Apache-2.0
"""Spans are made where a trace is recorded, and nowhere else; work on a batch goes on with the traces of its events."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings, strategies
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from nerv.errors import Misconfigured, NotFound
from nerv.telemetry import (
    Carrier,
    Sampling,
    arriving,
    batches,
    carrier,
    hop,
    marked,
    process_spans,
    span,
    span_of_all,
    traced,
    tracing,
)
from nerv.telemetry import names as n
from nerv.telemetry.batches import LINKED, OWN
from nerv.telemetry.sampling import DEFAULT_RATIO, sampling_of
from nerv.telemetry.spans.quick import QuickSpans
from nerv.telemetry.tracing import current_ids
from nerv.types import Event

ONE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TWO = "00-1bf7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = f"{ONE[:-2]}00"
NOW_MS = int(datetime.now(UTC).timestamp() * 1000)
EVENT: Event[bytes] = Event("1", "s", "t", datetime(2013, 1, 1, tzinfo=UTC), b"{}", "thing-1", sequence=7)


@dataclass
class Record:
    """Where an event was read."""

    number: int
    written_ms: int = NOW_MS

    def topic(self) -> str:
        """Its topic."""
        return "m.history.v1"

    def partition(self) -> int:
        """Its partition."""
        return 3

    def offset(self) -> int:
        """Its offset."""
        return self.number

    def timestamp(self) -> tuple[int, int]:
        """When it was written."""
        return 1, self.written_ms


def sources(*parents: str | None, written_ms: int = NOW_MS) -> list[tuple[Event[bytes], Record]]:
    """Events that came with these contexts."""
    return [
        (replace(EVENT, traceparent=parent, sequence=number), Record(10 + number, written_ms))
        for number, parent in enumerate(parents, 1)
    ]


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Every trace is recorded, in one test."""
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.turn_on(Sampling(1.0), QuickSpans(provider, "nerv"))
    yield exporter
    tracing.sample(None)
    exporter.shutdown()


def attributes(found: ReadableSpan) -> dict[str, object]:
    """Of a span."""
    return dict(found.attributes or {})


def trace_ids(found: Sequence[ReadableSpan]) -> list[str]:
    """Of spans."""
    return [f"{one.context.trace_id:032x}" for one in found if one.context]


def test_a_batch_has_one_span_in_each_of_its_traces(spans: InMemorySpanExporter) -> None:
    """Three events of two traces give two `process` spans, and each event's context is replaced by its span's."""
    with process_spans("m.history.v1", "m.projector", sources(ONE, TWO, ONE)) as passed:
        contexts = {parent: passed[Carrier(parent, None)].traceparent for parent in (ONE, TWO)}
    finished = spans.get_finished_spans()
    assert [found.name for found in finished] == [n.process("m.history.v1")] * 2
    assert set(trace_ids(finished)) == {ONE[3:35], TWO[3:35]}
    assert {attributes(found)[n.BATCH_COUNT] for found in finished} == {1, 2}
    for parent, context in contexts.items():
        assert context is not None
        assert context[:35] == parent[:35]
        assert context != parent


def test_a_span_says_what_it_touched(spans: InMemorySpanExporter) -> None:
    """Of one event its stream, version, topic, partition and offset; of several their ranges."""
    with process_spans("m.history.v1", "g", sources(TWO, ONE, ONE)):
        pass
    two, one = (attributes(found) for found in sorted(spans.get_finished_spans(), key=lambda s: str(s.attributes)))
    if n.VERSION not in two:
        one, two = two, one
    wanted = {n.DESTINATION: "m.history.v1", n.PARTITION: "3", n.OFFSET: 11, n.STREAM: "thing-1", n.VERSION: 1}
    assert wanted.items() <= two.items()
    assert (one[n.PLACES], one[n.STREAMS]) == (("m.history.v1[3]@12-13",), ("thing-1@2-3",))


def test_spans_of_the_work_on_a_batch_are_linked_to_its_other_traces(spans: InMemorySpanExporter) -> None:
    """What is done for all of a batch at once is seen in each of its traces."""
    with process_spans("t", "g", sources(ONE, TWO)), span("EVALSHA", SpanKind.CLIENT):
        pass
    done = next(found for found in spans.get_finished_spans() if found.name == "EVALSHA")
    [linked] = done.links
    assert {*trace_ids([done]), f"{linked.context.trace_id:032x}"} == {ONE[3:35], TWO[3:35]}
    spans.clear()
    events = [event for event, _ in sources(ONE, TWO, None, UNSAMPLED)]
    with span_of_all("commit t", SpanKind.CLIENT, traced(events), {}), span("inner"):
        pass
    for found in spans.get_finished_spans():
        assert trace_ids([found]) == [ONE[3:35]]
        assert [f"{link.context.trace_id:032x}" for link in found.links] == [TWO[3:35]]


def test_a_batch_of_very_many_traces_has_few_spans(spans: InMemorySpanExporter) -> None:
    """Some traces have a span of their own, some are linked, and how many are left out is said."""
    parents = [f"00-{number:032x}-b7ad6b7169203331-01" for number in range(1, 101)]
    with process_spans("t", "g", sources(*parents)) as passed:
        pass
    finished = spans.get_finished_spans()
    assert len(finished) == len(passed) == OWN
    [first] = [found for found in finished if found.links]
    assert len(first.links) == LINKED
    assert attributes(first)[n.LEFT_OUT] == 100 - OWN - LINKED


def test_a_replica_that_catches_up_shows_its_work_in_few_traces(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many at once; then batches go by without a look, until there is room for all that a batch may have."""
    monkeypatch.setattr(batches, "_budget", batches.Budget(0.0, OWN + LINKED + 3.0))
    parents = [f"00-{number:032x}-b7ad6b7169203331-01" for number in range(1, 5)]
    with process_spans("t", "g", sources(*parents)) as passed:
        assert len(passed) == 4
    with process_spans("t", "g", (pytest.fail("it is looked at") for _ in parents)) as passed:
        assert passed == {}
    assert len(spans.get_finished_spans()) == 4


def test_traces_that_are_not_recorded_make_no_spans(spans: InMemorySpanExporter) -> None:
    """Neither their messages, nor what is read again long after it was written; and what follows makes none either."""
    old = NOW_MS - 2 * 3_600_000
    for batch in (sources(UNSAMPLED, None), sources(ONE, written_ms=old)):
        with process_spans("t", "g", batch) as passed, span("inner"), span("later", begin=True):
            assert passed == {}
            assert carrier() == Carrier()
    with span("GET /x", SpanKind.SERVER, parent=Carrier(UNSAMPLED)), span("inner"):
        assert carrier() == Carrier()
        assert hop() == Carrier(UNSAMPLED)
        assert current_ids() == (ONE[3:35], None)
    assert spans.get_finished_spans() == ()


def test_a_trace_begins_only_where_it_may(spans: InMemorySpanExporter) -> None:
    """A span without a parent is made by who may begin one; others need the span that they are in."""
    with span("client", SpanKind.CLIENT):
        assert carrier() == Carrier()
    with span("root", begin=True), span("client", SpanKind.CLIENT):
        pass
    client, root = spans.get_finished_spans()
    assert (client.name, root.name) == ("client", "root")
    assert client.parent == root.context


def test_who_answers_learns_that_a_trace_is_not_recorded(spans: InMemorySpanExporter) -> None:
    """A request says so, so that nobody behind it begins another; a message carries nothing."""
    tracing.sample(Sampling(0.0))
    with span("GET /x", SpanKind.SERVER, parent=Carrier()):
        assert carrier() == Carrier()
        told = hop().traceparent or ""
        assert (len(told), told[-2:]) == (55, "00")
    assert (hop().traceparent or "")[-2:] == "00"  # work that began no trace
    assert spans.get_finished_spans() == ()


async def test_tasks_of_a_recorded_trace_are_recorded_within_one_that_is_not(spans: InMemorySpanExporter) -> None:
    """Who was begun by a request of an unrecorded trace works on messages of others later."""

    async def work() -> None:
        with process_spans("t", "g", sources(ONE)), span("inner"):
            pass

    with span("GET /x", SpanKind.SERVER, parent=Carrier(UNSAMPLED)):
        task = asyncio.create_task(work())
    await task
    assert trace_ids(spans.get_finished_spans()) == [ONE[3:35]] * 2


def test_events_are_marked_with_the_trace_they_are_appended_in(spans: InMemorySpanExporter) -> None:
    """Those without a context get that of the request; where one has its own, none is changed."""
    mine, other = EVENT, replace(EVENT, traceparent=TWO)
    assert marked([mine]) == [mine]
    with span("POST /x", SpanKind.SERVER, parent=Carrier(ONE)):
        [found] = marked([mine])
        assert (found.traceparent or "")[:35] == ONE[:35]
        assert marked([mine, other]) == [mine, other]
    assert spans.get_finished_spans()


def test_an_error_marks_its_span(spans: InMemorySpanExporter) -> None:
    """By its class and text, and goes on; a refusal is named, and is an answer."""
    with pytest.raises(ValueError, match="no"), span("root", begin=True):
        raise ValueError("no")
    with pytest.raises(NotFound), span("root", begin=True):
        raise NotFound("not here")
    failed, refused = spans.get_finished_spans()
    assert attributes(failed)[n.ERROR_TYPE] == "ValueError"
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, "no")
    assert (attributes(refused)[n.ERROR_TYPE], refused.status.status_code) == ("NotFound", StatusCode.UNSET)


def test_an_error_that_has_no_text_leaves_its_span(spans: InMemorySpanExporter) -> None:
    """What comes afterwards is not in it."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    for number, block in enumerate([span("root", begin=True), process_spans("t", "g", sources(ONE, TWO))], 1):
        with pytest.raises(RuntimeError, match="no text"), block:
            raise Mute
        assert (len(spans.get_finished_spans()), carrier(), current_ids()) == (2 * number - 1, Carrier(), None)


def test_an_error_marks_all_spans_of_a_batch(spans: InMemorySpanExporter) -> None:
    """Each of its traces shows it."""
    with pytest.raises(ValueError, match="no"), process_spans("t", "g", sources(ONE, TWO)):
        raise ValueError("no")
    for found in spans.get_finished_spans():
        assert (attributes(found)[n.ERROR_TYPE], found.status.description) == ("ValueError", "no")
    assert set(trace_ids(spans.get_finished_spans())) == {ONE[3:35], TWO[3:35]}


HEX = "0123456789abcdef"
USUAL = strategies.builds(
    "-".join,
    strategies.tuples(
        strategies.sampled_from(["00", "01", "ff"]),
        *(strategies.text(HEX, min_size=size, max_size=size) | strategies.just("0" * size) for size in (32, 16)),
        strategies.text(HEX, min_size=2, max_size=2),
    ),
)


@settings(deadline=None)  # a machine that does something else beside is no mistake
@given(
    USUAL | strategies.text(HEX + "-A _+x\n", max_size=60) | USUAL.map(lambda usual: usual + "\n"),
    strategies.none() | strategies.sampled_from(["", "a=1", "a=1,b=2", "="]),
)
def test_a_context_is_read_as_opentelemetry_reads_it(traceparent: str, tracestate: str | None) -> None:
    """What is no context leads nowhere."""
    fields = {"traceparent": traceparent} | ({} if tracestate is None else {"tracestate": tracestate})
    wanted = trace.get_current_span(TraceContextTextMapPropagator().extract(fields, otel_context.Context()))
    assert tracing.link_to(Carrier(traceparent, tracestate)).context == wanted.get_span_context()


def test_within_no_context_there_is_nothing_to_carry(spans: InMemorySpanExporter) -> None:
    """An app may step out of all contexts, as some libraries do."""
    with span("root", begin=True):
        token = otel_context.attach(otel_context.Context())
        assert carrier() == Carrier()
        otel_context.detach(token)
        assert carrier() != Carrier()


def test_of_several_headers_the_first_counts(spans: InMemorySpanExporter) -> None:
    """In `tracestate` it has the newest entries."""
    headers = [(b"traceparent", ONE.encode()), (b"tracestate", b"a=1"), (b"tracestate", b"b=2"), (b"traceparent", b"x")]
    assert arriving(headers, begin=True) == Carrier(ONE, "a=1")
    assert arriving([headers[1], headers[0], *headers[2:]], begin=True) == Carrier(ONE, "a=1")


def test_without_tracing_nothing_is_made() -> None:
    """Off costs nothing, and the contexts that came in are passed on as they are."""
    with process_spans("m.history.v1", "m.projector", sources(ONE)) as passed, span("x", begin=True):
        assert passed == {}
        assert carrier() == hop() == Carrier()
        assert traced([EVENT]) == []


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ({}, Sampling(DEFAULT_RATIO)),
        ({"OTEL_TRACES_SAMPLER_ARG": "0.5"}, Sampling(0.5)),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, Sampling(1.0, by_parent=False)),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, Sampling(1.0)),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, Sampling(0.0)),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"}, Sampling(0.25, by_parent=False)),
    ],
)
def test_the_standard_variables_choose_what_is_sampled(told: dict[str, str], wanted: Sampling) -> None:
    """By the names that OpenTelemetry has for them."""
    assert sampling_of(told) == wanted


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ({"OTEL_TRACES_SAMPLER": "jaeger_remote"}, "parentbased_traceidratio"),
        ({"OTEL_TRACES_SAMPLER_ARG": "2"}, "from 0 to 1"),
        ({"OTEL_TRACES_SAMPLER_ARG": "few"}, "from 0 to 1"),
    ],
)
def test_a_wrong_sampler_is_told_what_there_is(told: dict[str, str], named: str) -> None:
    """It stops the service that it is set for."""
    with pytest.raises(Misconfigured, match=named):
        sampling_of(told)


def test_a_ratio_samples_as_opentelemetry_does() -> None:
    """Without a parent's say the lower half of the trace id decides, as for all who sample by the same ratio."""
    theirs = TraceIdRatioBased(0.5)
    for number in range(0, 1 << 64, (1 << 64) // 40):
        ours = Sampling(0.5, by_parent=False).goes_on(f"00-{number:032x}-b7ad6b7169203331-00")
        assert ours == (theirs.should_sample(None, number, "x").decision is Decision.RECORD_AND_SAMPLE)
    assert not Sampling(1.0).goes_on("00-zz")
    assert not Sampling(0.5, by_parent=False).goes_on("z" * 55)
