# SPDX-License-Identifier: Apache-2.0
"""Big lists are divided into parts by what an item takes, and the record shows what was decided."""

import itertools
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nerv
from nerv.errors import TooLarge
from nerv.protocols.queue import RunStatus
from nerv.workflows import Dag, Drawing, Many, Output, Part, Value, draw, resolve
from nerv_scheduler.fusing import Fusing
from nerv_scheduler.invoke import callees
from nerv_scheduler.replay import replay
from nerv_scheduler.splitting import Division, Splitting
from tests.unit.scheduler.scheduler_in_memory import FAST, World

app = nerv.App("splitting")


@app.task()
def numbers(count: int) -> list[int]:
    """A list that is known when the run comes to it."""
    return list(range(count))


@app.task()
def squares(part: list[int], plus: int = 0) -> list[int]:
    """A part of a list to a part of a list."""
    return [number * number + plus for number in part]


@app.task()
def total(part: list[int]) -> int:
    """A part of a list to one figure."""
    return sum(part)


@app.workflow("split")
def split(w: Drawing, count: int) -> Output:
    """Squares, in parts; then their sums, in parts; then the sum of these."""
    return w.call(total, w.split(total, w.split(squares, w.call(numbers, count), 1)))


@app.workflow("given")
def given_list(w: Drawing) -> Many:
    """A list that is known when it is drawn."""
    return w.split(squares, range(10))


@given(st.lists(st.integers(), max_size=50), st.integers(1, 60))
def test_parts_are_the_whole(items: list[int], count: int) -> None:
    """In order, each item once; their lengths differ by one at most."""
    parts = [resolve(Part(Value(items), index, count), str) for index in range(count)]
    assert [item for part in parts for item in part] == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_drawing_with_parts_is_plain_data() -> None:
    """As JSON and back it is the same; once the list is divided, who waits for it waits for its parts."""
    dag = draw(app.workflows["split"], app.tasks, {"count": 5})
    assert Dag.decode(orjson.loads(orjson.dumps(dag.encode()))) == dag
    divided = dag.expanded({"squares": 2})
    assert "squares[1]" in divided.nodes["total"].after


@pytest.mark.parametrize("count", [0, 1, 7, 100])
async def test_a_list_is_split_and_joined(count: int) -> None:
    """Whatever its length: what comes out is what one task would have made of it."""
    world = World(app)
    async with world.replica():
        await world.starter.start("split", {"count": count}, "r1")
        state = await world.ended("r1")
    assert state.result == str(sum(number * number + 1 for number in range(count))).encode()
    record = await world.recorder.read("r1")
    assert record.node("squares").result == min(count, FAST.concurrency)
    assert not replay(app, callees(app), record, 1000).differences
    async with world.replica():
        await world.starter.start("given", {}, "r2")
        assert (await world.ended("r2")).result == orjson.dumps([number * number for number in range(10)])


async def test_the_record_shows_what_was_decided() -> None:
    """How many parts of how many items, and what an item was known to take."""
    world = World(app)
    async with world.replica():
        await world.starter.start("given", {}, "r1")
        assert (await world.ended("r1")).status is RunStatus.COMPLETED
    [event] = [event for event in await world.stream("run-r1") if event.type == "nerv.map.expanded.v1"]
    told = orjson.loads(event.data)
    assert (told["count"], told["split"]) == (FAST.concurrency, {"items": 10, "seconds_an_item": None})


def test_parts_follow_what_an_item_takes() -> None:
    """One where all is done soon, more the longer it takes, at most some for each place; one a place while nothing is known."""
    fusing = Fusing(callees(app), 0.05)
    splitting = Splitting(fusing, slots=4)
    assert splitting.divide("squares", 1000, 10_000) == Division(1000, 4, None)
    splitting.note("squares", 100, 0.01)
    seconds = fusing.known("squares/item")
    assert seconds == pytest.approx(0.0001)
    assert splitting.divide("squares", 1000, 10_000).parts == 1
    assert splitting.divide("squares", 5000, 10_000).parts == 10
    assert splitting.divide("squares", 10**6, 10_000).parts == 16
    assert splitting.divide("squares", 10**6, 7).parts == 7
    assert splitting.divide("squares", 0, 7).parts == 0


async def test_what_is_no_list_is_not_split() -> None:
    """The run fails, and says what it was."""
    other = nerv.App("other")
    other.task(name="one")(lambda: 1)
    other.task(name="each")(lambda part: part)

    @other.workflow("w")
    def workflow(w: Drawing) -> Any:
        return w.split("each", w.call("one"))

    world = World(other)
    async with world.replica():
        await world.starter.start("w", {}, "r1")
        state = await world.ended("r1")
    assert state.status is RunStatus.FAILED
    assert "no list" in state.error


def test_a_part_of_a_list_that_is_drawn_holds_no_more_than_that() -> None:
    """Else each of many parts would carry all of it; an endless one is refused."""
    dag = draw(app.workflows["given"], app.tasks, {}).expanded({"squares": 3})
    assert [dag.nodes[f"squares[{i}]"].arguments[0] for i in range(3)] == [
        Part(Value([0, 1, 2]), 0, 1),
        Part(Value([3, 4, 5]), 0, 1),
        Part(Value([6, 7, 8, 9]), 0, 1),
    ]
    with pytest.raises(TooLarge, match="have a task return it"):
        Drawing(app.tasks, {}).split(squares, itertools.count())


def test_what_a_split_needs_is_known() -> None:
    """Parts of a list wait for all that the list comes from."""
    drawing = Drawing(app.tasks, {})
    parts: Sequence[Output] = drawing.map(numbers, [1, 2])
    dag = drawing.finished(drawing.split(total, parts))
    assert dag.nodes["total"].after == ("numbers[0]", "numbers[1]")
