# SPDX-License-Identifier: Apache-2.0
"""A trace as a tree: a line a span, below the one that led to it, with when it ran and what it touched. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from nerv.telemetry import names as n
from nerv.types import parse_instant

MOST = 400  # lines; of more spans only the beginning is shown
BAR_CELLS = 20
NARROW = 100  # columns of a terminal that has no room for a bar
RAN = "\u2588"
DEEPEST = 12  # levels that are drawn; what is below stands beside the last one

Span = Mapping[str, Any]


class Line(NamedTuple):
    """A span, and what is drawn before its name."""

    branch: str
    span: Span


def listed(traces: Sequence[Mapping[str, Any]]) -> Table:
    """Traces as the API lists them, a line each."""
    made = Table(box=None, pad_edge=False)
    made.add_column("trace", no_wrap=True, width=32)  # whole, for people copy it
    made.add_column("begun", no_wrap=True, width=8)
    for column, width in (("time", 8), ("spans", 5), ("failed", 6)):
        made.add_column(column, justify="right", no_wrap=True, min_width=width)
    made.add_column("began with", overflow="fold")
    for one in traces:
        begun, ran = f"{parse_instant(one['begun']):%H:%M:%S}", _milliseconds(round(one["milliseconds"] * 1000))
        cells = (
            one["trace"],
            begun,
            ran,
            str(one["spans"]),
            str(one["errors"] or "-"),
            escape(str(one["name"] or "-")),
        )
        made.add_row(*cells, style="red" if one["errors"] else None)
    return made


def tree(spans: Sequence[Span], width: int) -> Table:
    """The spans of one trace, as the API gives them, for a terminal so wide."""
    begun = min(_began(span) for span in spans)
    whole = max(max(_began(span) + span["microseconds"] for span in spans) - begun, 1)
    lines = list(ordered(spans))
    failed = sum(1 for span in spans if span["error"] is not None)
    title = f"trace {spans[0]['trace']}: {len(spans):,} spans, {_milliseconds(whole)}"
    title += f", {failed} failed" if failed else ""
    more = f"the first {MOST} of {len(lines):,}; all of them: --json" if len(lines) > MOST else None
    made = Table(title=title, title_justify="left", caption=more, caption_justify="left", box=None, pad_edge=False)
    bars = width >= NARROW
    longest = max(len(line.branch) + len(Text.from_markup(_named(line.span))) for line in lines[:MOST])
    # What is folded loses its place in the tree: names have as much room as they need, as long as the rest has some, too.
    made.add_column("span", overflow="fold", width=min(longest, width * 6 // 10))
    made.add_column("service", no_wrap=True)
    if bars:
        made.add_column("", width=BAR_CELLS, no_wrap=True)
    made.add_column("time", justify="right", no_wrap=True)
    made.add_column("touched", overflow="fold")
    for line in lines[:MOST]:
        span = line.span
        bar = (
            [_bar(_began(span) - begun, span["microseconds"], whole, failed=span["error"] is not None)] if bars else []
        )
        made.add_row(
            escape(line.branch) + _named(span), escape(str(span["service"])), *bar, _milliseconds(span["microseconds"]),
            ", ".join(filter(None, (_error(span), escape(touched(span["attributes"]))))),
        )  # fmt: skip
    return made


def ordered(spans: Sequence[Span]) -> Iterator[Line]:
    """Depth first, children by when they began. One whose parent is not kept stands at the edge."""
    known = {span["span"] for span in spans}
    children: dict[str | None, list[Span]] = {}
    for span in sorted(spans, key=_began):
        parent = span["parent"] if span["parent"] in known and span["parent"] != span["span"] else None
        children.setdefault(parent, []).append(span)
    stack = [("", "", span) for span in reversed(children.get(None, []))]
    seen: set[str] = set()
    while stack:
        before, below, span = stack.pop()
        if span["span"] in seen:
            continue
        seen.add(span["span"])
        yield Line(before, span)
        inner = children.get(span["span"], [])
        if len(below) >= 3 * DEEPEST:
            stack += [(before, below, one) for one in reversed(inner)]
            continue
        for place, one in reversed(list(enumerate(inner, 1))):
            last = place == len(inner)
            stack.append(
                (below + ("\u2514\u2500 " if last else "\u251c\u2500 "), below + ("   " if last else "\u2502  "), one)
            )


def touched(attributes: Mapping[str, Any]) -> str:
    """Stream and version, topic, partition and offset, and what else says which thing it was about."""
    found: list[str] = []
    if n.STREAM in attributes:
        version = attributes.get(n.VERSION)
        found.append(attributes[n.STREAM] if version is None else f"{attributes[n.STREAM]}@{version}")
    found += attributes.get(n.STREAMS, ())
    if n.OFFSET in attributes:
        found.append(f"{attributes[n.DESTINATION]}[{attributes.get(n.PARTITION)}]@{attributes[n.OFFSET]}")
    found += attributes.get(n.PLACES, ())
    for name, what in ((n.PROJECTION, "projection"), (n.SYNC, "sync"), (n.HTTP_STATUS, "status")):
        if name in attributes:
            found.append(f"{what} {attributes[name]}")
    if attributes.get(n.BATCH_COUNT, 1) != 1:
        found.append(f"{attributes[n.BATCH_COUNT]} together")
    if n.LEFT_OUT in attributes:
        found.append(f"{attributes[n.LEFT_OUT]} left out")
    return ", ".join(map(str, found))


def _named(span: Span) -> str:
    name = escape(span["name"])
    if span["error"] is not None:
        return f"[red]{name}[/red]"
    return f"{name} [dim](with others)[/dim]" if "of" in span else name


def _error(span: Span) -> str:
    text = ": ".join(filter(None, (span["attributes"].get(n.ERROR_TYPE), span["error"])))
    return escape(text) if span["error"] is None else f"[red]{escape(text) or 'failed'}[/red]"


def _began(span: Span) -> int:
    instant = parse_instant(span["begun"])
    return int(instant.timestamp()) * 1_000_000 + instant.microsecond


def _bar(after: int, ran: int, whole: int, *, failed: bool) -> str:
    first = min(BAR_CELLS - 1, after * BAR_CELLS // whole)
    cells = max(1, min(BAR_CELLS - first, round(ran * BAR_CELLS / whole)))
    color = "red" if failed else "green"
    return f"{' ' * first}[{color}]{RAN * cells}[/{color}]"


def _milliseconds(microseconds: int) -> str:
    return f"{microseconds / 1000:,.1f} ms" if microseconds < 1_000_000 else f"{microseconds / 1e6:,.2f} s"
