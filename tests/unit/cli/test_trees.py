# SPDX-License-Identifier: Apache-2.0
"""A trace and a chain of causes, drawn as trees."""

from io import StringIO
from typing import Any

from rich.console import Console

from nerv.cli.trace_tree import ordered, touched, tree
from nerv.cli.why_tree import causes, looked, reaction_of
from nerv.cli.why_tree import tree as why_tree


def span(name: str, parent: str | None, begun_ms: int, **more: Any) -> dict[str, Any]:
    """A span as the API gives it; its id is its name."""
    return {
        "trace": "a" * 32, "span": name, "parent": parent, "name": name, "kind": "internal", "service": "broker",
        "begun": f"2026-11-27T00:00:00.{begun_ms:03}000Z", "microseconds": 2000, "error": None, "attributes": {},
    } | more  # fmt: skip


def event(number: int, cause: int | None, **more: Any) -> dict[str, Any]:
    """An event of a stream, as the API gives it; its id is its number."""
    return {
        "id": str(number), "causation_id": None if cause is None else str(cause), "correlation_id": None,
        "stream": "thing-1", "version": number, "type": "thing.noted.v1", "source": "nerv:things/note",
        "time": "2013-01-01T00:00:00Z", "recorded_time": f"2026-11-27T00:00:{number:02}Z", "traceparent": None,
        "topic": "nerv.history.v1", "partition": 0, "offset": number,
    } | more  # fmt: skip


def drawn(table: Any) -> list[str]:
    """The lines of it, on a wide terminal."""
    screen = Console(file=StringIO(), width=160)
    screen.print(table)
    return str(screen.file.getvalue()).splitlines()  # type: ignore[attr-defined]  # it is the StringIO above


def test_spans_stand_below_what_led_to_them() -> None:
    """Children by when they began; one whose parent is not kept at the edge; circles end."""
    spans = [
        span("second", "root", 5), span("first", "root", 2), span("inner", "first", 3), span("root", None, 0),
        span("lost", "nowhere", 1),
    ]  # fmt: skip
    assert [(line.branch, line.span["name"]) for line in ordered(spans)] == [
        ("", "root"), ("├─ ", "first"), ("│  └─ ", "inner"), ("└─ ", "second"), ("", "lost"),
    ]  # fmt: skip
    assert list(ordered([span("a", "b", 0), span("b", "a", 1)])) == []


def test_a_tree_says_what_a_span_touched_and_what_went_wrong() -> None:
    """Stream and version, topic, partition and offset; the class and the text of an error; what [looks] like markup stays."""
    lines = drawn(
        tree(
            [
                span("commit", None, 0, attributes={
                    "nerv.stream": "a-1", "nerv.version": 7, "messaging.destination.name": "t",
                    "messaging.destination.partition.id": "3", "messaging.kafka.offset": 9,
                }),
                span("call", "commit", 1, error="no [room]", attributes={"error.type": "Overloaded"}),
                span("with", "call", 1, of="b" * 32),
            ],
            160,
        )
    )  # fmt: skip
    assert "1 failed" in lines[0]
    assert "a-1@7, t[3]@9" in lines[2]
    assert "Overloaded: no [room]" in lines[3]
    assert "(with others)" in lines[4]
    several = {"nerv.places": ["t[0]@1-5"], "nerv.streams": ["a-1@1-2"], "messaging.batch.message_count": 5}
    assert touched(several) == "a-1@1-2, t[0]@1-5, 5 together"


def test_events_stand_below_their_causes() -> None:
    """By their causation; what names none stands below the first of its chain; what is not shown is named."""
    events = [
        event(1, None), event(3, 1, correlation_id="1"), event(2, 3, correlation_id="1"),
        event(4, None, correlation_id="1"), event(5, 77, correlation_id="1"),
    ]  # fmt: skip
    assert causes(events) == {"1": None, "3": "1", "2": "3", "4": "1", "5": None}
    run = [event(1, None, correlation_id="r"), event(2, None, correlation_id="r")]
    assert causes(run) == {"1": None, "2": "1"}
    lines = [line.strip() for line in drawn(why_tree(events, "2"))]
    assert any(line.startswith("77: a command") for line in lines)
    assert len([line for line in lines if "thing.noted.v1" in line]) == 5


def test_how_far_topics_were_looked_at_is_said() -> None:
    """All there is, or where one can go on; without a time of the last record from where one began."""
    at = {"topic": "shop.order.v1", "since": "T1", "looked": 100_000, "whole": False, "until": "T2"}
    assert list(looked([at, at | {"until": None}, at | {"looked": 7, "whole": True, "until": None}])) == [
        "looked at 100,000 records of shop.order.v1 since T1, there are more after T2",
        "looked at 100,000 records of shop.order.v1 since T1, there are more after T1",
        "looked at 7 records of shop.order.v1 since T1, all there are",
    ]


def test_the_reaction_is_told_by_the_source() -> None:
    """Of other sources none is."""
    assert reaction_of("nerv:flights/record_departure") == "record_departure"
    assert reaction_of("nerv.scheduler") is None
