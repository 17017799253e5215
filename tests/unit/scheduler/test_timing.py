# SPDX-License-Identifier: Apache-2.0
"""Where the time of a run went."""

from nerv.protocols.queue import NodeState, NodeStatus, RunState, RunStatus
from nerv_scheduler.timing import critical_path, maps, ready_ms, spans

DONE = NodeStatus.COMPLETED
NODES = {
    "a": NodeState(DONE, "t", 1, 1100, 1500),
    "b": NodeState(DONE, "t", 1, 1100, 2000),
    "c": NodeState(DONE, "t", 1, 2250, 2500, after=("a", "b")),
    "d": NodeState(NodeStatus.RUNNING, "t", 1, 1600, 0, after=("a",)),
    "e": NodeState(NodeStatus.WAITING, "t", after=("d",)),
}
STATE = RunState("r", "w", RunStatus.RUNNING, 1000, 0, NODES)


def test_a_node_is_ready_when_the_last_one_it_waits_for_has_ended() -> None:
    """The first ones at the start of the run; unknown while something is missing."""
    assert [ready_ms(STATE, node) for node in NODES.values()] == [1000, 1000, 2000, 1500, 0]


def test_waiting_and_running_are_told_apart() -> None:
    """In seconds; what is not over is not known."""
    assert spans(STATE, NODES["c"]) == {"queued_seconds": 0.25, "ran_seconds": 0.25}
    assert spans(STATE, NODES["d"]) == {"queued_seconds": 0.1, "ran_seconds": None}
    assert spans(STATE, NODES["e"]) == {"queued_seconds": None, "ran_seconds": None}


def test_the_critical_path_goes_back_from_the_last_end() -> None:
    """By whom each node waited for the longest; empty before any end."""
    assert critical_path(STATE) == ["b", "c"]
    assert critical_path(RunState("r", "w", RunStatus.RUNNING, 1000, 0, {})) == []


def test_the_progress_of_a_map_is_counted() -> None:
    """What is done, runs, or has failed, of how many; nodes that are no items of a map are no part of it."""
    found = [DONE, NodeStatus.SKIPPED, NodeStatus.RUNNING, NodeStatus.READY, NodeStatus.FAILED, NodeStatus.CANCELLED]
    items = {f"load[{i}]": NodeState(status, "load") for i, status in enumerate(found)}
    state = RunState("r", "w", RunStatus.FAILING, 1000, 0, {"load": NodeState(DONE, ":map"), **items})
    assert maps(state) == [{"step": "load", "items": 6, "done": 2, "failed": 2, "running": 1}]
    assert maps(STATE) == []
