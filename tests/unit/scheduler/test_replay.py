# SPDX-License-Identifier: Apache-2.0
"""Runs are decided once more by today's code: what is the same is said to be, and each kind of change is found and named."""

from collections.abc import Callable
from typing import Any

import pytest

import nerv
from nerv.errors import Misconfigured, NotFound
from nerv.workflows import Drawing, Output
from nerv_scheduler.invoke import callees
from nerv_scheduler.replay import Replay, replay
from tests.unit.scheduler.scheduler_in_memory import World


def numbers(count: int) -> list[int]:
    """A list."""
    return list(range(count))


def total(parts: list[int]) -> int:
    """A sum."""
    return sum(parts)


def double(number: int) -> int:
    """Twice the number."""
    return 2 * number


def app_of(function: Callable[..., Any], *, version: int = 1, twice: Any = double, **options: Any) -> nerv.App:
    """An app with one workflow."""
    app = nerv.App("made")
    for task in (numbers, total):
        app.task()(task)
    app.task(name="double")(twice)
    app.workflow("w", version=version, **options)(function)
    return app


def drawn(w: Drawing, count: int = 2) -> Output:
    """The workflow as it was when the run was started."""
    found = w.call(numbers, count)
    many = w.when(w.call(total, found))
    with many:
        doubled = w.map("double", found)
    return w.call(total, doubled, after=w.sleep(0.01))


async def ran(app: nerv.App, run_input: dict[str, Any] | None = None) -> World:
    """A world in which a run has ended."""
    world = World(app)
    await world.starter.start("w", run_input or {}, "r1")
    async with world.replica():
        await world.ended("r1")
    return world


async def again(world: World, app: nerv.App) -> Replay:
    """What today's app makes of it."""
    return replay(app, callees(app), await world.recorder.read("r1"), 100)


async def test_unchanged_code_decides_the_same() -> None:
    """Drawing, expansion, branch, sleep and end; also of a run that was cancelled, failed, or goes on."""
    world = await ran(app_of(drawn))
    found = await again(world, app_of(drawn))
    assert (found.differences, found.changed, found.decisions) == ((), (), 10)
    for count in (0, 1):
        other = await ran(app_of(drawn), {"count": count})
        assert (await again(other, app_of(drawn))).differences == ()


async def test_each_changed_decision_is_named() -> None:
    """A step that went, one that came, another argument, a condition and a sleep that would be decided otherwise."""

    def changed(w: Drawing, count: int = 2) -> Output:
        found = w.call(numbers, count + 1)
        many = w.when(w.call(total, found), equals=7)
        with many.otherwise():
            doubled = w.map(double, found)
        return w.call(double, w.call(total, doubled, after=w.sleep(5)))

    world = await ran(app_of(drawn))
    found = await again(world, app_of(changed, deadline=9.0))
    assert {(one.where, one.what) for one in found.differences} == {
        ("numbers", "arguments"),
        ("when", "arguments"),
        ("when", "taken"),
        ("double", "when"),
        ("sleep", "arguments"),
        ("sleep", "due"),
        ("double#2", "step"),
        ("workflow", "result"),
        ("workflow", "deadline"),
    }
    taken = next(one for one in found.differences if one.what == "taken")
    assert (taken.recorded, taken.today) == (True, False)


async def test_changed_code_that_decides_the_same_is_named_apart() -> None:
    """A task that computes otherwise breaks no run; who looks is told that it is another one."""

    def thrice(number: int) -> int:
        return 3 * number

    found = await again(await ran(app_of(drawn)), app_of(drawn, twice=thrice))
    assert (found.differences, found.changed) == ((), ("double",))


async def test_code_that_no_longer_draws_is_told() -> None:
    """The refusal is the difference; so is a version that is gone."""

    def broken(w: Drawing, other: int) -> Output:
        return w.call(double, other)

    world = await ran(app_of(drawn))
    [refused] = (await again(world, app_of(broken))).differences
    assert (refused.where, refused.what) == ("workflow", "drawing")
    assert "lacks other" in refused.today
    [gone] = (await again(world, app_of(drawn, version=2))).differences
    assert (gone.what, gone.recorded, gone.today) == ("version", 1, "versions 2")


async def test_versions_stand_side_by_side() -> None:
    """Runs are started of the highest, or of the one that is asked for, and are replayed against their own."""
    app = app_of(lambda w: w.call(double, 1))
    app.workflow("w", version=2)(lambda w: w.call(double, 2))
    world = World(app)
    await world.starter.start("w", {}, "new")
    await world.starter.start("w", {}, "old", 1)
    async with world.replica():
        results = [(await world.ended(run)).result for run in ("new", "old")]
    assert results == [b"4", b"2"]
    records = [await world.recorder.read(run) for run in ("new", "old")]
    assert [record.version for record in records] == [2, 1]
    assert all(replay(app, callees(app), record, 100).differences == () for record in records)
    with pytest.raises(NotFound, match="has no version 3; it has 1, 2"):
        await world.starter.start("w", {}, "r3", 3)
    with pytest.raises(Misconfigured, match="declares workflow 'w' twice in version 2"):
        app.workflow("w", version=2)(drawn)
