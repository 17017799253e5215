# SPDX-License-Identifier: Apache-2.0
"""The tables of a frame: what their columns are, how wide, and what stands in them. Pure.

Widths are fixed but for names, so that nothing jumps from one second to the next.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from nerv.cli.replicas import UP, duration, ranges, word_of
from nerv.cli.top.seeing import Sight
from nerv.client.client import SERVICES
from nerv.types import parse_instant

Row = Mapping[str, Any]
Cells = tuple[str | Text, ...]

NOTHING, PENDING = "-", "looking ..."
BEHIND = 1000  # events of lag, from which on it is yellow
INTO = ("topic", "stream", "bus")  # kinds of ends from which events come into a service
COLORS = {"completed": "green", "failed": "red", "running": "yellow", "paused": "magenta", "cancelled": "magenta"}


@dataclass(frozen=True, slots=True)
class Column:
    """One column; without a width it takes what is left."""

    name: str
    width: int | None = None
    right: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A table of rows, and what it says where there are none."""

    name: str
    columns: Sequence[Column]
    rows: Sequence[Cells]
    empty: str

    def lines(self, room: int, skip: int = 0) -> Group:
        """Its heading and as many rows as there is room for, after those that are skipped; the last line says how many more."""
        made = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, expand=True, header_style="bold cyan")
        for column in self.columns:
            made.add_column(
                column.name, width=column.width, ratio=None if column.width else 1, no_wrap=True, overflow="ellipsis",
                justify="right" if column.right else "left",
            )  # fmt: skip
        shown = list(self.rows[skip : skip + max(1, room - 1)])
        more = len(self.rows) - skip - len(shown)
        if more > 0 and len(shown) > 1:
            shown, more = shown[:-1], more + 1
        for row in shown:
            made.add_row(*row)
        said = self.empty if not self.rows else f"… {more} more" if more > 0 else ""
        return Group(made, *([Text(said, style="dim")] if said else []))


def rate(number: float) -> str:
    """Events a second, in 7 characters at most."""
    if number >= 100_000:
        return f"{number / 1000:,.0f}k"
    return f"{number:,.0f}" if number >= 10 or not number else f"{number:.1f}"


def size(octets: int | None) -> str:
    """Bytes of memory, in 5 characters at most."""
    if octets is None:
        return NOTHING
    mebibytes = octets / 2**20
    return f"{mebibytes:.0f}M" if mebibytes < 1000 else f"{mebibytes / 1024:.1f}G"


def tail(name: str, width: int) -> str:
    """The end of a name that is too long: what tells replicas apart stands there."""
    return name if len(name) <= width else f"…{name[1 - width :]}"


def flow(replica: Row) -> tuple[float, float]:
    """Events a second that come in and go out."""
    ways = replica.get("traffic", ())
    into = sum(way["rate"] for way in ways if way["from"].partition(":")[0] in INTO)
    return into, sum(way["rate"] for way in ways) - into


SORTS: Mapping[str, Callable[[Row], Any]] = {
    "service": lambda row: (SERVICES.index(row["service"]), row.get("instance", "")),
    "cpu": lambda row: -row.get("process", {}).get("cpu", 0.0),
    "memory": lambda row: -(row.get("process", {}).get("rss") or 0),
    "in": lambda row: -flow(row)[0],
    "out": lambda row: -flow(row)[1],
}

REPLICA = 17
REPLICAS = (
    Column("SERVICE", 9), Column("REPLICA"), Column("STATUS", 9), Column("UP", 7), Column("CPU", 4, right=True),
    Column("MEM", 5, right=True), Column("IN/s", 7, right=True), Column("OUT/s", 7, right=True), Column("OWNS", 6),
)  # fmt: skip


def replicas(sight: Sight, sort: str) -> Section:
    """Every replica: whether it is well, how busy, and which partitions it owns."""
    rows = [_replica(row) for row in sorted(sight.replicas, key=SORTS[sort])]
    return Section("replicas", REPLICAS, rows, "no replica is alive")


def _replica(row: Row) -> Cells:
    status = _status(row["status"])
    if "process" not in row:
        return (row["service"], "", status, *[NOTHING] * 6)
    process, (into, out) = row["process"], flow(row)
    return (
        row["service"], tail(row["instance"], REPLICA), status, duration(row["uptime_seconds"]), f"{process['cpu']:.0%}",
        size(process["rss"]), rate(into), rate(out), ranges(row["owns"]).replace(" ", "") or NOTHING,
    )  # fmt: skip


def _status(status: str) -> Text:
    if status == UP:
        return Text(status, style="green")
    said = word_of(status)
    return Text(said, style="bold red" if said == "not ready" else "yellow")


LAGS = (
    Column("READER", 10), Column("NAME"), Column("BEHIND", 10, right=True), Column("RATE/s", 7, right=True),
    Column("VIEWS", 8, right=True), Column("PARKED", 6, right=True), Column("STATE", 6),
)  # fmt: skip


def lags(sight: Sight) -> Section:
    """How far projections, groups and the queue of tasks are behind."""
    waiting: list[Cells] = (
        [("projection", Text(PENDING, style="dim"), *[""] * 5)] if "projections" in sight.pending else []
    )
    folding = [*waiting, *map(_projection, sight.projections)]
    rows = [*folding, *map(_group, _summed(sight.groups)), *map(_queue, sight.queues)]
    return Section("lags", LAGS, rows, "nothing reads events")


def _behind(lag: int | None) -> Text:
    if lag is None:
        return Text("unknown", style="red")
    return Text(_count(lag), style="yellow" if lag >= BEHIND else "")


def _projection(row: Row) -> Cells:
    return (
        "projection", row["projection"], _behind(row["lag"]), rate(row.get("rate") or 0.0), _count(row["entities"]),
        _count(row["parked"]), _state(row),
    )  # fmt: skip


def _state(row: Row) -> Text:
    if row.get("control", {}).get("paused"):
        return Text("paused", style="magenta")
    return Text("ok", style="green") if row["ready"] else Text("fault", style="bold red")


def _count(number: int | None) -> str:
    if number is None:
        return NOTHING
    return f"{number:,}" if number < 10**7 else f"{number // 10**6:,}M"


def _summed(groups: Sequence[Row]) -> list[Row]:
    """The lag of each group over all topics that it reads."""
    names = dict.fromkeys(row["group"] for row in groups)
    return [{"group": name, "lag": sum(row["lag"] for row in groups if row["group"] == name)} for name in names]


def _group(row: Row) -> Cells:
    return ("group", row["group"], _behind(row["lag"]), "", "", "", "")


def _queue(row: Row) -> Cells:
    more = f"{row['taken']:,} taken, {row['delayed']:,} later"
    return ("tasks", f"{row['queue']}: {more}", _behind(row["ready"]), "", "", "", "")


RUNS = (
    Column("RUN"), Column("WORKFLOW", 14), Column("STATUS", 9), Column("BEGAN", 8, right=True), Column("TOOK", 7, right=True),
)  # fmt: skip


def runs(sight: Sight) -> Section:
    """The latest runs of workflows."""
    empty = PENDING if "runs" in sight.pending else "no workflow has run lately"
    return Section("runs", RUNS, [_run(row, sight.at) for row in sight.runs], empty)


def _run(row: Row, now: datetime) -> Cells:
    begun = None if row["started"] is None else (now - parse_instant(row["started"])).total_seconds()
    status = Text(row["status"], style=COLORS.get(row["status"], ""))
    ago = NOTHING if begun is None else f"-{duration(max(0.0, begun))}"
    return (row["run"], row["workflow"], status, ago, duration(row["elapsed_seconds"]))


OWNERS = (Column("SERVICE", 9), Column("PARTITION", 9, right=True), Column("OWNER"))


def owners(sight: Sight) -> Section:
    """Which replica owns which partition, of each service that shares them out."""
    found = sorted(
        (row["service"], number, row["instance"]) for row in sight.replicas for number in row.get("owns", ())
    )
    return Section("owners", OWNERS, [(s, str(p), owner) for s, p, owner in found], "nobody owns a partition")


WAYS = (Column("FROM"), Column("TO"), Column("EVENTS", 13, right=True), Column("RATE/s", 7, right=True))


def ways(sight: Sight) -> Section:
    """Where most events go now."""
    found: dict[tuple[str, str], tuple[int, float]] = {}
    for way in _all_ways(sight.replicas):
        count, per_second = found.get((way["from"], way["to"]), (0, 0.0))
        found[way["from"], way["to"]] = count + way["count"], per_second + way["rate"]
    busiest = sorted(found.items(), key=lambda one: (-one[1][1], -one[1][0], one[0]))
    rows = [(_end(a), _end(b), f"{count:,}", rate(per_second)) for (a, b), (count, per_second) in busiest]
    return Section("ways", WAYS, rows, "no event was seen yet")


def _all_ways(replicas: Iterable[Row]) -> Iterable[Row]:
    return (way for replica in replicas for way in replica.get("traffic", ()))


def _end(end: str) -> str:
    return end.replace(":", " ", 1)
