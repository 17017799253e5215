# SPDX-License-Identifier: Apache-2.0
"""Large results are in a store and in history only by reference; whoever needs them is given them whole."""

import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import nerv
from nerv.app import App
from nerv.errors import Misconfigured, TooLarge
from nerv.protocols.queue import RunStatus
from nerv.workflows import Drawing, PermanentError, Result
from nerv_scheduler.handlers import document_of
from nerv_scheduler.invoke import callees
from nerv_scheduler.patience import Patience
from nerv_scheduler.record import Stored, decoded, encoded
from nerv_scheduler.replay import replay
from nerv_scheduler.results import INLINE_BYTES, Results
from tests.unit.scheduler.scheduler_in_memory import Noted, World

LARGE = "x" * (INLINE_BYTES + 1)


def storing(folder: Path, large: str = LARGE) -> World:
    """A world whose app has a store; tasks that give something large, and some that are given it."""
    app = nerv.App("made", results=f"file://{folder}")
    app.event("noted.v1", topic="made.noted.v1")(Noted)

    @app.task()
    def make() -> str:
        return large

    @app.task()
    def made_with_effect() -> Result:
        return Result(large, [nerv.append("thing-1", Noted(n=1))])

    @app.task()
    def many() -> list[str]:
        return [large, "y"]

    @app.task()
    def size(*texts: str) -> int:
        return sum(map(len, texts))

    @app.workflow("sizes")
    def sizes(w: Drawing) -> Any:
        return w.call(size, w.call(make), w.call(made_with_effect))

    @app.workflow("mapped")
    def mapped(w: Drawing) -> Any:
        return w.map(size, w.call(many))

    @app.workflow("large")
    def whole(w: Drawing) -> Any:
        return w.call(make)

    return World(app)


def only(folder: Path) -> Path:
    """The only file of a store."""
    [path] = folder.rglob("*.json")
    return path


async def test_a_large_result_is_given_whole_to_who_needs_it(tmp_path: Path) -> None:
    """History and queue hold a reference of some hundred bytes; a list of it is mapped over as any other."""
    world = storing(tmp_path)
    async with world.replica():
        await world.starter.start("sizes", {}, "r1")
        assert (await world.ended("r1")).result == str(2 * len(LARGE)).encode()
        await world.starter.start("mapped", {}, "r2")
        assert (await world.ended("r2")).result == f"[{len(LARGE)},1]".encode()
    for run in ("r1", "r2"):
        events = await world.stream(f"run-{run}")
        assert max(len(event.data) for event in events) < 4096
    record = await world.recorder.read("r1")
    assert isinstance(record.node("make").result, Stored)
    assert len(await world.stream("thing-1")) == 1


async def test_the_result_of_a_run_may_be_large_too(tmp_path: Path) -> None:
    """People are shown where it is; a replay of the run finds nothing otherwise."""
    world = storing(tmp_path)
    async with world.replica():
        await world.starter.start("large", {}, "r1")
        state = await world.ended("r1")
    document = document_of(state, world.results)
    assert document["result"] is None
    assert document["stored"]["bytes"] == len(LARGE) + 2
    assert f"file://{only(tmp_path)}" == document["stored"]["url"]
    assert only(tmp_path).read_text(encoding="utf-8") == f'"{LARGE}"'
    record = await world.recorder.read("r1")
    whole = replace(await world.results.filled(record, record.nodes), result=await world.results.fetched(record.result))
    assert whole.result == LARGE
    assert not replay(world.app, callees(world.app), whole, 100).differences


async def test_a_large_result_survives_a_wiped_queue(tmp_path: Path) -> None:
    """It is put back by its reference."""
    world = storing(tmp_path)
    async with world.replica():
        await world.starter.start("sizes", {}, "r1")
        await world.ended("r1")
        world.queue.wipe()
        await world.starter.start("large", {}, "r2")
        await world.ended("r2")
    assert decoded(encoded((await world.recorder.read("r2")).node("make").result)) == Stored(
        *(await _stored(world, "r2"))
    )


async def _stored(world: World, run: str) -> tuple[str, int, str]:
    found = (await world.recorder.read(run)).node("make").result
    return found.name, found.size, found.digest


async def test_a_result_that_the_store_has_lost_fails_who_needs_it(tmp_path: Path) -> None:
    """Its error says what to do: restart the step that made it."""
    world = storing(tmp_path)
    app = world.app

    @app.task()
    def lose(text: str) -> int:
        for path in tmp_path.rglob("*.json"):
            path.unlink()
        return len(text)

    @app.workflow("losing")
    def losing(w: Drawing) -> Any:
        made = w.call("make")
        return w.call("size", made, after=w.call(lose, made))

    world = World(app)
    async with world.replica():
        await world.starter.start("losing", {}, "r1")
        state = await world.ended("r1")
    assert state.status is RunStatus.FAILED
    assert "restart the step that made it" in state.error


async def test_what_is_read_is_what_was_recorded(tmp_path: Path) -> None:
    """A file that was changed is not used."""
    results = Results(f"file://{tmp_path}", 10**6, Patience())
    kept = await results.kept("r1", "a/b[3]", LARGE)
    assert await results.fetched(kept) == LARGE
    only(tmp_path).write_text('"other"', encoding="utf-8")
    with pytest.raises(PermanentError, match="not what was recorded"):
        await results.fetched(kept)


async def test_small_results_stay_where_they_are(tmp_path: Path) -> None:
    """So do all without a store; what is larger than the limit is refused; long names fit into any file system."""
    results = Results(f"file://{tmp_path}", 10**6, Patience())
    assert await results.kept("r1", "a", "small") == "small"
    assert await Results(None, 10**6, Patience()).kept("r1", "a", LARGE) == LARGE
    with pytest.raises(TooLarge, match="RESULT_BYTES"):
        await results.kept("r1", "a", "x" * 10**6)
    kept = await results.kept("r" * 200, "n" * 250, LARGE)
    assert await results.fetched(kept) == LARGE
    assert only(tmp_path).suffix == ".json"


async def test_without_a_store_a_result_must_fit_into_an_event() -> None:
    """What does not fails its task, and says what the limit is."""
    app = App("plain")
    app.task(name="large")(lambda: "x" * 300_000)
    app.workflow("w")(lambda w: w.call("large"))
    world = World(app)
    async with world.replica():
        await world.starter.start("w", {}, "r1")
        state = await world.ended("r1")
    assert state.status is RunStatus.FAILED
    assert "the limit is 262144" in state.error


async def test_any_store_that_fsspec_knows_will_do() -> None:
    """One in memory here; a URL of nothing it knows is refused at the start."""
    results = Results(f"memory://{uuid.uuid4().hex}", 10**6, Patience())
    assert await results.fetched(await results.kept("r1", "a", LARGE)) == LARGE
    with pytest.raises(Misconfigured, match="NERV_SCHEDULER__RESULTS"):
        Results("nowhere://x", 10**6, Patience())
    assert App("plain").results is None
