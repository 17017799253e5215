# SPDX-License-Identifier: Apache-2.0
"""A chain of causes as a tree: each event below what caused it. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from rich.markup import escape
from rich.tree import Tree

from nerv.types import EventType

Caused = Mapping[str, Any]
"""An event of a stream or of a topic, without its data, as the API gives it."""

MESH = "nerv:"
RUN: Final = "run"  # the category of the streams of runs


def tree(events: Collection[Caused], asked: str) -> Tree:
    """Those without a cause at the top; the one that was asked for is bold."""
    known = {event["id"]: event for event in events}
    below: dict[str | None, list[Caused]] = {}
    led = causes(events)
    for event in sorted(events, key=_when):
        below.setdefault(led[event["id"]], []).append(event)
    first = below.get(None, [])
    made = Tree("what led to what", hide_root=True)
    stack = [(made, event) for event in reversed(first)]
    while stack:
        branch, event = stack.pop()
        if known.pop(event["id"], None) is None:
            continue
        cause = event["causation_id"]
        if cause is not None and led[event["id"]] is None:
            branch = branch.add(f"[dim]{escape(cause)}: a command, or an event that is not shown[/dim]")
        inner = branch.add(line(event, bold=event["id"] == asked))
        stack += [(inner, one) for one in reversed(below.get(event["id"], []))]
    return made


def causes(events: Collection[Caused]) -> dict[str, str | None]:
    """By the id of each event the id of the one that led to it, should it be among them.

    One that names no cause, as those of a run, was led to by the start of its run, or by the first of its chain.
    """
    starts = {run: event["id"] for event in events if (run := run_of(event)) is not None}
    known = {event["id"] for event in events}
    firsts: dict[str, str] = {}
    for event in sorted(events, key=_when):
        firsts.setdefault(event["correlation_id"] or event["id"], event["id"])
    found: dict[str, str | None] = {}
    for event in events:
        chain = event["correlation_id"] or event["id"]
        cause = event["causation_id"] or starts.get(chain) or firsts[chain]
        found[event["id"]] = cause if cause in known and cause != event["id"] else None
    return found


def run_of(event: Caused) -> str | None:
    """The run that an event is the start of; None for others."""
    stream: str = event.get("stream") or ""
    return stream.removeprefix(f"{RUN}-") if event["type"] == EventType.RUN_SUBMITTED else None


def tops(events: Collection[Caused]) -> list[Caused]:
    """Those whose cause is not among them, by when they were recorded."""
    led = causes(events)
    return sorted((event for event in events if led[event["id"]] is None), key=_when)


def line(event: Caused, *, bold: bool = False) -> str:
    """Where it stands, what it is, who wrote it, and in which trace."""
    place = f"{event['topic']}[{event['partition']}]@{event['offset']}" if "topic" in event else ""
    name = f"{event['stream']}@{event['version']}" if event.get("stream") else place
    told = f"[bold]{escape(name)}[/bold]" if bold else escape(name)
    parts = [told, escape(event["type"]), escape(_by(event["source"]))]
    if place and event.get("stream"):
        parts.append(f"[dim]{escape(place)}[/dim]")
    parts.append(f"[dim]{escape(event.get('recorded_time') or event['time'])}[/dim]")
    if event["traceparent"]:
        parts.append(f"[dim]trace {escape(trace_of(event['traceparent']))}[/dim]")
    return "  ".join(parts)


def looked(at: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """How far topics were looked at for what belongs to the chain, in words."""
    for one in at:
        rest = "all there are" if one["whole"] else f"there are more after {one['until'] or one['since']}"
        yield f"looked at {one['looked']:,} records of {one['topic']} since {one['since']}, {rest}"


def trace_of(traceparent: str) -> str:
    """The id of a trace context."""
    return traceparent[3:35]


def reaction_of(source: str) -> str | None:
    """The reaction that wrote an event, by its source `nerv:<app>/<reaction>`; None for others."""
    if not source.startswith(MESH):
        return None
    return source.partition("/")[2] or None


def _by(source: str) -> str:
    reaction = reaction_of(source)
    return f"by {source}" if reaction is None else f"by {reaction}"


def _when(event: Caused) -> tuple[str, str, int]:
    return event.get("recorded_time") or "", event.get("stream") or "", event.get("version") or 0
