# SPDX-License-Identifier: Apache-2.0
"""What history says of a run decides what is left to do, and how it ends."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nerv.errors import Internal, NotFound, Unavailable
from nerv.protocols.queue import Claim, NodeStatus, RunStatus
from nerv.types import Event
from nerv.workflows import Dag, Fan, Node, Output, PermanentError, Step, Value
from nerv_scheduler.events import RunEvents, effect_identities, event_id
from nerv_scheduler.model import (
    ERROR_LIMIT,
    Conclusion,
    backoff,
    conclude,
    describe_error,
    fold,
    is_permanent,
    plan,
    state_of,
)

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)
DAG = Dag((Step("part", "load", (), (Value(1), Value(2))), Step("join", "join", (Fan("part", 2),))), Output("join"))
MADE = RunEvents("m.scheduler", "r1", "here")


def claim(node: str, attempt: int = 1) -> Claim:
    """A claim of a node."""
    return Claim("r1", node, "1-0", "e", attempt, nonce=f"n{attempt}")


def submitted() -> Event[bytes]:
    """The first event."""
    return MADE.submitted(NOON, "report", {"year": 2013}, DAG)


def completed(node: str, value: Any, effects: Sequence[dict[str, Any]] = ()) -> Event[bytes]:
    """A node is done."""
    return MADE.completed(NOON, claim(node), "load", value, effects, began=NOON)


def statuses(*events: Event[bytes]) -> dict[str, tuple[str, int]]:
    """Status and count of waits of each planned node, after a start and these events."""
    return {node.name: (node.status.value, node.waits) for node in plan(fold("r1", [submitted(), *events]), NOON).nodes}


def test_a_new_run_has_its_first_nodes_ready() -> None:
    """What waits for nothing is ready; the rest knows how many it waits for, and who waits for it."""
    made = plan(fold("r1", [submitted()]), NOON)
    assert statuses() == {"part[0]": ("ready", 0), "part[1]": ("ready", 0), "join": ("waiting", 2)}
    assert made.nodes[0].children == ("join",)
    assert (made.workflow, made.status) == ("report", RunStatus.RUNNING)


def test_a_run_that_had_begun_goes_on_where_it_was() -> None:
    """A completed node is completed, and those that wait for it wait for one less."""
    found = statuses(completed("part[0]", 5))
    assert found == {"part[0]": ("completed", 0), "part[1]": ("ready", 0), "join": ("waiting", 1)}
    assert statuses(completed("part[0]", 5), completed("part[1]", 6))["join"] == ("ready", 0)


def test_effects_that_may_be_undone_are_owed() -> None:
    """A completed node whose effects are not recorded as done is ready again, and what waits for it still waits."""
    owing = completed("part[0]", 5, [{"id": "x"}])
    assert statuses(owing)["part[0]"] == ("ready", 0)
    assert statuses(owing)["join"] == ("waiting", 2)
    [node, *_] = plan(fold("r1", [submitted(), owing]), NOON).nodes
    assert node.attempts == 1
    done = MADE.effects_done(NOON, claim("part[0]"), "load")
    assert statuses(owing, done)["part[0]"] == ("completed", 0)


def test_a_failed_attempt_is_counted_and_tried_again() -> None:
    """It leaves the node ready, with its failures and attempts."""
    made = plan(fold("r1", [submitted(), MADE.attempt_failed(NOON, claim("part[1]", 3), "load", "no")]), NOON)
    assert (made.nodes[1].status, made.nodes[1].failures, made.nodes[1].attempts) == (NodeStatus.READY, 1, 3)


def test_after_a_final_failure_nothing_new_begins() -> None:
    """The rest is cancelled, effects that are owed excepted, and the run fails with the first error."""
    events = [
        submitted(),
        completed("part[0]", 5, [{"id": "x"}]),
        MADE.failed(NOON + timedelta(seconds=1), claim("part[1]"), "load", "ValueError: no"),
    ]
    made = plan(fold("r1", events), NOON)
    assert made.status is RunStatus.FAILING
    assert [node.status.value for node in made.nodes] == ["ready", "failed", "cancelled"]
    assert conclude(fold("r1", events)) == Conclusion(RunStatus.FAILED, error="part[1]: ValueError: no", node="part[1]")


def test_refused_effects_fail_the_node_after_all() -> None:
    """The result was recorded; that its effects can never be performed fails the run all the same."""
    events = [
        submitted(),
        completed("part[0]", 5, [{"id": "x"}]),
        MADE.effects_refused(NOON, claim("part[0]"), "load", "no such topic"),
    ]
    assert fold("r1", events).node("part[0]").verdict is NodeStatus.FAILED
    assert conclude(fold("r1", events)).error == "part[0]: no such topic"


def test_a_finished_run_ends_with_its_result() -> None:
    """What the workflow returned, by the results of its nodes; the end is remembered."""
    events = [submitted(), completed("part[0]", 5), completed("part[1]", 6), completed("join", 11)]
    assert conclude(fold("r1", events)) == Conclusion(result=11)
    record = fold("r1", [*events, MADE.ended(NOON, Conclusion(result=11))])
    assert (record.status, record.result) == (RunStatus.COMPLETED, 11)
    state = state_of(record)
    assert (state.status, state.result, state.nodes["join"].result) == (RunStatus.COMPLETED, b"11", b"11")
    assert state.nodes["join"].worker == "here"


def test_an_end_before_its_time_is_refused() -> None:
    """A run is not ended while history lacks a result."""
    with pytest.raises(Internal, match="no result of join"):
        conclude(fold("r1", [submitted(), completed("part[0]", 5), completed("part[1]", 6)]))


def test_a_stream_that_is_no_run_is_refused() -> None:
    """It does not begin with a start."""
    with pytest.raises(Internal):
        fold("r1", [completed("part[0]", 1)])


def test_ids_do_not_know_the_attempt() -> None:
    """A verdict has one id over attempts and outcomes, a failed attempt one of its own, effects one for their place."""
    success, failure = completed("a", 1), MADE.failed(NOON, claim("a", 7), "load", "no")
    assert success.id == failure.id
    tried = {MADE.attempt_failed(NOON, claim("a", i), "load", "no").id for i in (1, 2)}
    assert len({success.id, *tried}) == 3
    assert event_id("a", "bc") != event_id("ab", "c")
    assert effect_identities("app", "w", claim("a"), []) == []


def test_what_is_refused_is_permanent() -> None:
    """The team's word and the mesh's refusals; everything else may be tried again."""
    assert is_permanent(PermanentError("no"))
    assert is_permanent(NotFound("no"))
    assert not is_permanent(Unavailable("later"))
    assert not is_permanent(ValueError("who knows"))


def test_pauses_grow_are_spread_and_bounded() -> None:
    """They double up to the longest; chance halves them at most."""
    assert [backoff(n, 0.5, 30.0, 1.0) for n in (0, 1, 2, 20, 10_000)] == [0.5, 1.0, 2.0, 30.0, 30.0]
    assert backoff(0, 0.5, 30.0, 0.0) == 0.25


def test_errors_are_one_bounded_line() -> None:
    """Class and text, cut at the limit."""
    assert describe_error(ValueError("no")) == "ValueError: no"
    assert describe_error(TimeoutError()) == "TimeoutError"
    assert len(describe_error(ValueError("x" * 9999))) == ERROR_LIMIT


def test_trace_context_goes_into_every_message() -> None:
    """The messages of all nodes and of the end carry the context of the start."""
    traced = replace(submitted(), traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01")
    made = plan(fold("r1", [traced]), NOON)
    assert all(b"1" * 32 in message for message in (made.end, *(node.message for node in made.nodes)))
    assert Node("a", "t", ()).after == ()


def quantum(*chains: Sequence[tuple[str, Any]], worker: str = "here") -> Event[bytes]:
    """Nodes that were done together."""
    made = RunEvents("m.scheduler", "r1", worker)
    entries = [
        [{"node": n, "task": "load", "attempt": 1, "began": NOON, "ended": NOON, "result": r} for n, r in chain]
        for chain in chains
    ]
    return made.quantum(NOON, [claim(chain[0][0]) for chain in chains], entries)


def test_of_a_node_in_two_quanta_the_first_verdict_stands() -> None:
    """Whoever recorded it; and behind a node that had one already nothing of a chain counts, for it used another result."""
    first, second = quantum([("part[0]", 1)]), quantum([("part[0]", 9), ("join", 10)], [("part[1]", 2)], worker="there")
    record = fold("r1", [submitted(), first, second, completed("part[1]", 3)])
    assert [record.node(name).result for name in ("part[0]", "part[1]")] == [1, 2]
    assert record.node("join").verdict is None
    alone = fold("r1", [submitted(), completed("part[0]", 5), first])
    assert alone.node("part[0]").result == 5


def test_what_is_ready_again_counts_as_attempted() -> None:
    """After a loss somebody may still have it in hand; a new run has nothing of the kind."""
    record = fold("r1", [submitted(), completed("part[0]", 1)])
    assert [node.attempts for node in plan(record, NOON).nodes] == [1, 1, 0]
    assert [node.attempts for node in plan(fold("r1", [submitted()]), NOON, new=True).nodes] == [0, 0, 0]
