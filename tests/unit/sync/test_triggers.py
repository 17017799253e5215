# SPDX-License-Identifier: Apache-2.0
"""Runs that nobody orders: by the clock, and after events."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nerv.clock import SystemClock
from nerv.errors import Misconfigured
from nerv.protocols import AppendRequest
from nerv.types import Event, new_event_id, utc_now
from nerv_sync.triggers import Triggers
from tests.unit.sync.bench import Stage
from tests.unit.sync.test_pairs import Hangar


class NearlyFull(SystemClock):
    """A clock that shows a twentieth of a second before a full minute when it is made."""

    def __init__(self) -> None:
        self._ahead = datetime(2026, 1, 1, 12, tzinfo=UTC) - timedelta(seconds=0.05) - super().now()

    def now(self) -> datetime:
        """What it shows."""
        return super().now() + self._ahead


@asynccontextmanager
async def triggered(stage: Stage) -> AsyncIterator[None]:
    """A replica that orders its runs by itself."""
    clock = NearlyFull()
    async with stage.replica() as runs, Triggers(stage.pairs(), runs, stage.history, clock):
        yield


async def until(holds: Callable[[], bool]) -> None:
    """Wait for a condition under a deadline."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - another task works
            await asyncio.sleep(0.01)


async def until_over(hangar: Hangar) -> list[dict[str, Any]]:
    """Wait until there are runs, and the latest is over; answers them."""
    async with asyncio.timeout(60):
        while not (found := await hangar.journal().runs("planes")) or found[0]["status"] == "running":  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        return found


async def test_a_pair_is_run_by_the_clock_once_for_all_replicas() -> None:
    """Two replicas order the run of the same minute: it is one run, by the schedule; a verification is one of its own."""
    hangar = Hangar(schedule="* * * * *", verification="0 12 * * *")
    hangar.put(hangar.left, "a", seats=5)
    async with triggered(hangar), triggered(hangar):
        await until(lambda: "a" in hangar.right)
        found = {run["run"]: (run["cause"], run["verify"]) for run in await until_over(hangar)}
    assert set(found.items()) <= {
        ("schedule-20260101T120000Z", ("schedule", False)),
        ("verification-20260101T120000Z", ("verification", True)),
    }
    assert found


async def test_a_pair_is_run_after_events_of_history() -> None:
    """Once at the start, and again when an event of a type that it follows is recorded; another type does nothing."""
    hangar = Hangar(events=("plane.painted.v1",))
    hangar.put(hangar.left, "a", seats=5)
    async with triggered(hangar):
        await until(lambda: "a" in hangar.right)
        hangar.put(hangar.left, "b", seats=5)
        for kind in ("plane.washed.v1", "plane.painted.v1"):
            event = Event(new_event_id(), "test", kind, utc_now(), b"{}")
            await hangar.history.append([AppendRequest("plane-b", [event])])
        await until(lambda: "b" in hangar.right)
    assert {run["cause"] for run in await hangar.journal().runs("planes")} == {"event"}


async def test_a_pair_that_wants_approval_is_only_planned() -> None:
    """The schedule makes its plan, which waits for a person."""
    hangar = Hangar(schedule="* * * * *", approval=True)
    hangar.put(hangar.left, "a", seats=5)
    async with triggered(hangar):
        found = await until_over(hangar)
    assert [run["status"] for run in found] == ["planned"]
    assert len(hangar.right) == 0


@pytest.mark.parametrize("attribute", ["schedule", "verification"])
def test_a_schedule_that_is_none_is_refused_at_the_start(attribute: str) -> None:
    """By the name of the sync."""
    with pytest.raises(Misconfigured, match=r"planes.*every day"):
        Hangar(**{attribute: "every day"}).pairs()
