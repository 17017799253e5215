# SPDX-License-Identifier: Apache-2.0
"""Drawing a workflow: a pure function gives a DAG as plain data, or a refusal that says what is wrong."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerv import App
from nerv.app import WorkflowSpec
from nerv.errors import Invalid, NotFound, TooLarge
from nerv.workflows import Dag, Drawing, Fan, Output, Outputs, Value, draw, resolve

app = App("drawn")


@app.task()
def load(month: int, scale: int = 1) -> int:
    """A task."""
    return month * scale


@app.task(name="join-all")
def join(parts: list[int]) -> int:
    """A task with another name than its function's."""
    return sum(parts)


def drawn(function: Callable[..., Any], run_input: dict[str, Any] | None = None, limit: int = 10_000) -> Dag:
    """The DAG that a function draws."""
    return draw(WorkflowSpec("w", function), app.tasks, run_input or {}, limit)


def test_names_and_order_follow_the_drawing() -> None:
    """Nodes are named by task and place, a second use gets a number, and each comes after those it needs."""

    def workflow(w: Drawing) -> Output:
        parts = w.map(load, [1, 2], 10)
        again = w.map("load", parts)
        return w.call(join, again[1:], w.call(join, parts))

    dag = drawn(workflow)
    assert list(dag.nodes) == ["load[0]", "load[1]", "load#2[0]", "load#2[1]", "join-all", "join-all#2"]
    assert dag.nodes["load[1]"].arguments == (Value(2), Value(10))
    assert dag.nodes["load#2[1]"].after == ("load[1]",)
    assert dag.nodes["join-all"].arguments == (Fan("load", 2),)
    assert dag.nodes["join-all#2"].arguments == (Outputs(("load#2[1]",)), Output("join-all"))
    assert dag.result == Output("join-all#2")


def test_drawing_twice_gives_the_same() -> None:
    """The same function and input give the same DAG."""

    def workflow(w: Drawing) -> Output:
        return w.call(join, w.map(load, w.input["months"]))

    assert drawn(workflow, {"months": [1, 2]}) == drawn(workflow, {"months": [1, 2]})


def test_a_dag_survives_json() -> None:
    """Encoded, written as JSON and decoded it is the same, maps over values, over outputs and over nothing included."""

    def workflow(w: Drawing) -> list[Output]:
        parts = w.map(load, [{"a": (1, None)}, "x"])
        mixed = w.map(load, [parts[0], 7], True)
        return [w.call(join, parts), w.call(join, w.map(load, [])), *mixed]

    dag = drawn(workflow)
    assert Dag.decode(json.loads(json.dumps(dag.encode()))) == dag


def test_ten_thousand_small_tasks_fit_into_one_event() -> None:
    """A fan-out at the limit and its join are smaller than an event may be."""
    dag = drawn(lambda w: w.call(join, w.map(load, range(9_999))))
    assert len(dag.nodes) == 10_000
    assert len(json.dumps(dag.encode())) < 256 * 1024


@pytest.mark.parametrize(
    "endless",
    [lambda w: w.map(load, itertools.count()), lambda w: [w.call(load, i) for i in itertools.count()]],
)
def test_more_tasks_than_the_limit_are_refused(endless: Callable[..., Any]) -> None:
    """Also when there is no end to them."""
    with pytest.raises(TooLarge, match="more than 50 tasks"):
        drawn(endless, limit=50)


@pytest.mark.parametrize(
    ("workflow", "says"),
    [
        (lambda w: w.call(load, {1, 2}), "argument 1 of load holds .* not JSON"),
        (lambda w: w.map(load, [1, 2], {3}), "argument 2 of load holds .* not JSON"),
        (lambda w: w.map(load, [1, {2}]), r"item 1 of load holds .* not JSON"),
        (lambda w: {"a": {1}}, "the workflow's result holds .* not JSON"),
        (lambda w: w.call(load, float("nan")), "not JSON"),
        (lambda w: w.call(load, 2**63), "not JSON"),
        (lambda w: w.call(load, {1: "a"}), "not JSON"),
        (lambda w: w.call(load, {"a": w.call(load, 1)}), "argument of its own"),
        (lambda w: w.call(load, Output("other")), "does not have"),
        (lambda w: w.call(load, Fan("other", 2)), "does not have"),
        (lambda w: Output("other"), "does not have"),
        (lambda w: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_wrong_drawings_are_refused(workflow: Callable[..., Any], says: str) -> None:
    """What is not JSON, what names other drawings, and what raises."""
    with pytest.raises(Invalid, match=says):
        drawn(workflow)


@pytest.mark.parametrize("task", ["nobody", print])
def test_unknown_tasks_are_not_found(task: Any) -> None:
    """By name or by function."""
    with pytest.raises(NotFound):
        drawn(lambda w: w.call(task))


def test_deep_data_is_refused() -> None:
    """Nesting is bounded."""
    deep: Any = 0
    for _ in range(40):
        deep = [deep]
    with pytest.raises(TooLarge, match="deeper"):
        drawn(lambda w: w.call(load, deep))


def test_the_input_fills_parameters() -> None:
    """By name, with defaults; a field too many or too few is refused and named."""

    def workflow(w: Drawing, month: int, scale: int = 3) -> Output:
        return w.call(load, month, scale)

    assert drawn(workflow, {"month": 2}).nodes["load"].arguments == (Value(2), Value(3))
    with pytest.raises(Invalid, match="lacks month"):
        drawn(workflow)
    with pytest.raises(Invalid, match="has moon"):
        drawn(workflow, {"month": 1, "moon": 2})


@pytest.mark.parametrize(
    "steps",
    [
        [{"name": "a", "task": "t", "arguments": [{"node": "b"}]}, {"name": "b", "task": "t"}],
        [{"name": "a", "task": "t", "arguments": [{"node": "a"}]}],
        [{"name": "a", "task": "t"}, {"name": "a", "task": "t"}],
        [{"name": "a", "task": "t", "arguments": [{"other": 1}]}],
        [{"task": "t"}],
    ],
)
def test_a_document_with_a_cycle_or_a_gap_is_refused(steps: list[Any]) -> None:
    """Nothing but what a drawing gives is taken."""
    with pytest.raises(Invalid):
        Dag.decode({"steps": steps, "result": {"value": None}})


@given(st.lists(st.lists(st.integers(0, 30), max_size=4), max_size=30))
def test_every_drawing_is_acyclic_and_decodes(wishes: list[list[int]]) -> None:
    """Whatever earlier tasks each task takes, every node comes after those it needs, and JSON keeps that."""

    def workflow(w: Drawing) -> None:
        outputs: list[Output] = []
        for wish in wishes:
            outputs.append(w.call(load, *[outputs[i % len(outputs)] for i in wish if outputs]))

    dag = drawn(workflow)
    seen: set[str] = set()
    for node in Dag.decode(dag.encode()).nodes.values():
        assert set(node.after) <= seen
        seen.add(node.name)
    assert len(seen) == len(wishes)


def test_arguments_resolve_to_outputs() -> None:
    """A value is itself, an output is what the node gave, a fan is a list in order."""
    outputs = {"a[0]": 1, "a[1]": 2, "b": 3}
    arguments = (Value("x"), Output("b"), Outputs(("b", "a[0]")), Fan("a", 2))
    assert [resolve(a, outputs.__getitem__) for a in arguments] == ["x", 3, [3, 1], [1, 2]]
