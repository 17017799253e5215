# SPDX-License-Identifier: Apache-2.0
"""The frames of `nerv top`, at the size of a terminal that everybody has."""

import asyncio
import os
import pty
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from nerv.cli.top.frame import PAGES, Shown, screen_of
from nerv.cli.top.keys import names_of, pressed
from nerv.cli.top.seeing import Sight
from nerv.cli.top.tables import SORTS, rate, size, tail

WIDTH, HEIGHT = 80, 24
ALL = Shown()
NOW = datetime(2026, 11, 26, 12, 0, 0, tzinfo=UTC)


def replica(service: str, number: int = 1, **more: Any) -> dict[str, Any]:
    """One that is well."""
    return {
        "service": service, "mesh": "nerv", "app": "flights", "instance": f"nerv-{service}-5d8f7c9b64-abcd{number}",
        "status": "up", "uptime_seconds": 86_399.0 * number, "process": {"cpu": 1.234, "rss": 123_456_789, "pid": 1},
        "owns": [0, 1, 2, 3], "figures": {}, "lags": [], "traffic": [], **more,
    }  # fmt: skip


def projection(name: str, **more: Any) -> dict[str, Any]:
    """One that has caught up."""
    nothing = {"lag": 0, "entities": 4000, "parked": 0, "rate": 0.0, "ready": True, "fault": None}
    return {"projection": name, "control": {"paused": False}, **nothing, **more}


def run(name: str, **more: Any) -> dict[str, Any]:
    """One that is over."""
    started = "2026-11-26T11:59:00.000000Z"
    return {
        "run": name,
        "workflow": "monthly-report",
        "status": "completed",
        "started": started,
        "elapsed_seconds": 3.2,
    } | more


def way(source: str, target: str, per_second: float, count: int = 10_000) -> dict[str, Any]:
    """As a replica tells it."""
    return {"from": source, "to": target, "count": count, "rate": per_second, "last": 1.0}


def busy() -> Sight:
    """A mesh with more of everything than a small terminal has room for."""
    scheduler = {
        "queues": [{"queue": "default", "ready": 1_234_567, "taken": 16, "delayed": 2}],
        "pools": {"tasks": {"busy": 16, "size": 16}},
    }
    lags = [{"group": "nerv.broker", "topic": "flights.flight.v1", "lag": 4_876_543}]
    flowing = [
        way("topic:flights.flight.v1", "reaction:record", 123_456.7),
        way("reaction:record", "category:aircraft", 3.4),
    ]
    return Sight(
        NOW,
        [
            *(replica("broker", n, lags=lags, traffic=flowing) for n in (1, 2)),
            *(replica("temporal", n) for n in (1, 2, 3)),
            *(replica("projector", n, owns=[n]) for n in range(4)),
            replica("sync", status="temporal: it cannot be reached, and this goes on for longer than a line can hold"),
            *(replica("scheduler", n, figures=scheduler) for n in (1, 2)),
        ],
        [projection(f"a-projection-with-name-{n}", lag=10**n, rate=10.0**n) for n in range(8)],
        [run(f"019acf0e-5dd7-7f5b-8b1e-24cdd5f3a6{n:02}") for n in range(20)],
    )  # fmt: skip


def lines(sight: Sight, shown: Shown = ALL, width: int = WIDTH, height: int = HEIGHT) -> list[str]:
    """The frame as it is seen."""
    console = Console(width=width, height=height, force_terminal=False)
    with console.capture() as captured:
        console.print(screen_of(sight, shown, height))
    return captured.get().splitlines()


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(("width", "height"), [(WIDTH, HEIGHT), (132, 50), (60, 20)])
def test_a_frame_fits_the_terminal(page: str, width: int, height: int) -> None:
    """No line is too long, none too many, and what there is no room for is counted."""
    found = lines(busy(), Shown(page), width, height)
    assert len(found) <= height
    assert max(map(len, found)) <= width
    assert f"page: {page}" in found[-1]
    if height == HEIGHT and page in ("all", "replicas", "runs"):
        assert any("more" in line for line in found) is (page != "replicas")
    assert any(line.startswith(("SERVICE", "READER", "RUN", "FROM")) for line in found)


def test_it_shows_each_part_of_the_mesh() -> None:
    """Replicas by their ends, lags, the queue, runs with their times; and what is wrong."""
    text = "\n".join(lines(busy(), height=60))
    assert "nerv top  12:00:00 UTC  11 of 12 replicas up  mesh nerv, app flights" in text
    assert "nerv-sync-5d8f7c9b64-abcd1: temporal: it cannot be reached" in text
    for said in ("…5d8f7c9b64-abcd1", "23h 59m", "123%", "118M", "123k", "0-3", "1,234,567", "9,753,086", "not ready"):
        assert said in text, said
    assert "a-projection-with-name-7" in text
    assert "default: 16 taken, 2 later" in text
    assert "-1m 0s" in text


def test_columns_stand_still() -> None:
    """Whatever the numbers are."""
    quiet = replace(busy(), replicas=[replica("broker", process={"cpu": 0.0, "rss": None}, owns=[])])
    loud = replace(
        busy(), replicas=[replica("broker", process={"cpu": 9.99, "rss": 2**36}, traffic=[way("topic:a", "b:c", 1e8)])]
    )
    heads = [next(line for line in lines(sight) if line.startswith("SERVICE")) for sight in (quiet, loud, busy())]
    assert len(set(heads)) == 1


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_mesh_says_so(page: str) -> None:
    """Every page."""
    text = "\n".join(lines(Sight(NOW, [], [], [], ("replicas: Redis did not answer",)), Shown(page)))
    assert "replicas: Redis did not answer" in text
    assert any(said in text for said in ("no replica", "nothing reads", "no workflow", "nobody owns", "no event"))


def test_what_was_not_seen_yet_is_not_called_empty() -> None:
    """Replicas are shown at once; what answers later says so."""
    text = "\n".join(lines(Sight(NOW, [replica("broker")], [], [], pending=frozenset({"projections", "runs"}))))
    assert text.count("looking ...") == 2
    assert "1 of 1 replicas up" in text


def test_keys_choose_what_is_shown() -> None:
    """Order, page, place; one that means nothing changes nothing, and one goes no further than the end."""
    shown = Shown()
    for _ in SORTS:
        shown = shown.pressed("s")
    assert shown == Shown()
    assert shown.pressed("tab").page == "replicas"
    assert shown.pressed("left").page == "ways"
    assert shown.pressed("down").pressed("down").pressed("up").skip == 1
    assert shown.pressed("x") == shown
    last = "\n".join(lines(busy(), Shown("runs", skip=1000)))
    assert "24cdd5f3a619" in last
    assert "24cdd5f3a618" not in last


def test_replicas_are_sorted_by_what_was_asked_for() -> None:
    """The busiest first."""
    lazy, keen = replica("broker"), replica("sync", process={"cpu": 3.0, "rss": 1, "pid": 2})
    sight = replace(busy(), replicas=[lazy, keen])

    def first(sort: str) -> str:
        found = lines(sight, Shown(sort=sort))
        return found[next(n for n, line in enumerate(found) if line.startswith("SERVICE")) + 1].split()[0]

    assert (first("service"), first("cpu"), first("memory")) == ("broker", "sync", "broker")


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (rate(0.0), "0"), (rate(0.55), "0.6"), (rate(99_999), "99,999"), (rate(1_234_567), "1,235k"),
        (size(None), "-"), (size(120 * 2**20), "120M"), (size(5 * 2**30), "5.0G"), (tail("abcdef", 4), "…def"),
    ],
)  # fmt: skip
def test_numbers_and_names_are_short(told: str, text: str) -> None:
    """As short as their columns."""
    assert told == text


def test_a_terminal_sends_keys_by_names() -> None:
    """Arrows and pages in either of their two ways; several at once; Ctrl-C ends as q does."""
    assert names_of("s\t\x1b[A\x1bOB\x1b[6~q") == ["s", "tab", "up", "down", "pagedown", "q"]
    assert names_of("\x03") == ["q"]


async def test_keys_come_without_a_line_and_the_terminal_is_left_as_it_was() -> None:
    """Also when the terminal goes away, which ends it."""
    import termios

    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    try:
        async with asyncio.timeout(30):
            with pressed(theirs) as keys:
                os.write(ours, b"s\x1b[B")
                assert [await keys.get(), await keys.get()] == ["s", "down"]
        assert termios.tcgetattr(theirs) == before
    finally:
        os.close(ours)
        os.close(theirs)


def test_groups_of_all_replicas_are_put_together() -> None:
    """Each replica tells of the partitions that it owns; those of projections are told by the projections."""
    fold = {"group": "nerv.projector.fold.aircraft", "topic": "nerv.history.v1", "lag": 5}
    told = [{"group": "billing", "topic": "orders", "lag": lag} for lag in (1, 2)]
    sight = replace(busy(), replicas=[replica("broker", lags=told[:1]), replica("broker", 2, lags=[fold, told[1]])])
    assert sight.groups == [{"group": "billing", "topic": "orders", "lag": 3}]
    document = busy().to_dict()
    assert document["at"] == "2026-11-26T12:00:00.000000Z"
    assert document["pools"] == {"tasks": (32, 32)}
