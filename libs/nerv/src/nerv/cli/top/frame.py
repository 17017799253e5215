# SPDX-License-Identifier: Apache-2.0
"""One frame: as much of the mesh as a terminal has room for. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.text import Text

from nerv.cli.replicas import faults_of, works
from nerv.cli.top.seeing import Sight
from nerv.cli.top.tables import SORTS, Section, lags, owners, replicas, runs, ways

PAGES = ("all", "replicas", "lags", "runs", "owners", "ways")
LEAST = 3  # lines of a section: its heading and two more
FAULTS = 3  # lines of what is wrong


@dataclass(frozen=True, slots=True)
class Shown:
    """What somebody has chosen to see."""

    page: str = "all"
    sort: str = "service"
    skip: int = 0

    def pressed(self, key: str) -> Self:
        """After a key; one that means nothing changes nothing."""
        match key:
            case "s":
                return replace(self, sort=_next(tuple(SORTS), self.sort), skip=0)
            case "tab" | "right":
                return replace(self, page=_next(PAGES, self.page), skip=0)
            case "left":
                return replace(self, page=_next(PAGES[::-1], self.page), skip=0)
            case "down" | "j":
                return replace(self, skip=self.skip + 1)
            case "up" | "k":
                return replace(self, skip=max(0, self.skip - 1))
            case "pagedown" | " ":
                return replace(self, skip=self.skip + 10)
            case "pageup":
                return replace(self, skip=max(0, self.skip - 10))
        return self


def _next(names: Sequence[str], name: str) -> str:
    return names[(names.index(name) + 1) % len(names)]


def screen_of(sight: Sight, shown: Shown, height: int) -> Layout:
    """All of a terminal that is so high, with the keys in its last line."""
    made = Layout()
    made.split_column(Layout(frame(sight, shown, height - 1)), Layout(_keys(shown), size=1))
    return made


def frame(sight: Sight, shown: Shown, height: int) -> Group:
    """At most so many lines."""
    faults = _faults(sight)
    room = height - 2 - len(faults)
    body = _all(sight, shown, room) if shown.page == "all" else [_page(sight, shown).lines(room, _skip(sight, shown))]
    return Group(_head(sight), *faults, Text(""), *body)


def _page(sight: Sight, shown: Shown) -> Section:
    pages = {"lags": lags, "runs": runs, "owners": owners, "ways": ways}
    return pages[shown.page](sight) if shown.page in pages else replicas(sight, shown.sort)


def _skip(sight: Sight, shown: Shown) -> int:
    """No further than the last row."""
    return min(shown.skip, max(0, len(_page(sight, shown).rows) - 1))


def _all(sight: Sight, shown: Shown, room: int) -> list[RenderableType]:
    sections = [replicas(sight, shown.sort), lags(sight), runs(sight)]
    gaps = len(sections) - 1
    rooms = _shared([1 + max(1, len(section.rows)) for section in sections], room - gaps)
    made: list[RenderableType] = []
    for section, own in zip(sections, rooms, strict=True):
        skip = _skip(sight, shown) if section.name == "replicas" else 0
        made += [Text(""), section.lines(own, skip)]
    return made[1:]


def _shared(wanted: Sequence[int], room: int) -> list[int]:
    """Lines for each: what it wants where there is room; else the greatest gives way first."""
    found = list(wanted)
    while sum(found) > room and max(found) > LEAST:
        found[found.index(max(found))] -= 1
    return found


def _head(sight: Sight) -> Text:
    meshes = ", ".join(f"mesh {mesh}, app {app}" for mesh, app in sight.meshes) or "no mesh"
    up = sum(works(row["status"]) for row in sight.replicas)
    count = f"{up} of {len(sight.replicas)} replicas up"
    style = "green" if up == len(sight.replicas) else "yellow"
    said = ("nerv top  ", "bold"), f"{sight.at:%H:%M:%S} UTC  ", (count, style), f"  {meshes}"
    return Text.assemble(*said, no_wrap=True, overflow="ellipsis")


def _faults(sight: Sight) -> list[Text]:
    """What cannot be seen, and what replicas say is wrong; the first few lines of it."""
    said = [*sight.faults, *faults_of(sight.replicas)]
    said += [f"{row['projection']}: {row['fault']}" for row in sight.projections if row.get("fault")]
    lines = [Text(line, style="red", no_wrap=True, overflow="ellipsis") for line in dict.fromkeys(said)]
    if len(lines) <= FAULTS:
        return lines
    return [*lines[: FAULTS - 1], Text(f"… {len(lines) - FAULTS + 1} more", style="red")]


def _keys(shown: Shown) -> Text:
    said = (("q", "quit"), ("s", f"sort: {shown.sort}"), ("tab", f"page: {shown.page}"), ("↑↓", "scroll"))
    parts = [part for key, what in said for part in ((f" {key} ", "reverse"), f" {what}  ")]
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")
