# SPDX-License-Identifier: Apache-2.0
"""Orders that people give of a run: the order of its stream decides what they come to."""

from datetime import UTC, datetime
from typing import Any

import pytest

import nerv
from nerv.errors import NotFound
from nerv.protocols.queue import Claim, NodeStatus, RunStatus
from nerv.types import Event
from nerv.workflows import Dag, Fan, Output, Step, Value
from nerv_scheduler.events import RunEvents, effect_identities
from nerv_scheduler.model import Conclusion, conclude, fold, plan, state_of
from nerv_scheduler.orders import ORDERS_LIMIT, check_steps, refusal
from nerv_scheduler.record import Order, OrderKind, RunRecord

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)
DAG = Dag(
    (
        Step("part", "load", (), (Value(1), Value(2))),
        Step("join", "join", (Fan("part", 2),)),
        Step("other", "load", ()),
    ),
    Output("join"),
)
MADE = RunEvents("m.scheduler", "r1", "here")
START = MADE.submitted(NOON, "report", {}, DAG)


def done(node: str, value: Any = 1, turn: int = 0) -> Event[bytes]:
    """A node is done."""
    return MADE.completed(NOON, Claim("r1", node, "1-0", "e", 1, round=turn), "load", value, [], began=NOON)


def failed(node: str, turn: int = 0) -> Event[bytes]:
    """A node has failed for good."""
    return MADE.failed(NOON, Claim("r1", node, "1-0", "e", 1, round=turn), "load", "no")


def ordered(kind: OrderKind, name: str = "", *steps: str, reason: str = "") -> Event[bytes]:
    """An order."""
    return MADE.ordered(NOON, Order(name or kind.value, kind, reason, steps))


def ended(record: RunRecord) -> Event[bytes]:
    """The end that a run comes to."""
    return MADE.ended(NOON, conclude(record), record.round)


ALL_DONE = [START, done("part[0]"), done("part[1]"), done("join", 2), done("other")]
COMPLETED = [*ALL_DONE, MADE.ended(NOON, Conclusion(result=2))]


def test_a_pause_stands_until_the_resumption() -> None:
    """The run still counts as running, and the plan says that it is paused and how many orders it knows."""
    paused = fold("r1", [START, ordered(OrderKind.PAUSE)])
    assert (paused.status, paused.paused, plan(paused, NOON).paused, plan(paused, NOON).orders) == (
        RunStatus.RUNNING,
        True,
        True,
        1,
    )
    assert not fold("r1", [START, ordered(OrderKind.PAUSE), ordered(OrderKind.RESUME)]).paused
    assert state_of(paused).paused


def test_a_cancelled_run_ends_as_cancelled() -> None:
    """Also when a task failed before or after, and with the reason that was given."""
    events = [START, failed("part[0]"), ordered(OrderKind.CANCEL, reason="wrong month"), failed("other")]
    record = fold("r1", events)
    assert record.status is RunStatus.CANCELLING
    assert {node.status for node in plan(record, NOON).nodes} == {NodeStatus.FAILED, NodeStatus.CANCELLED}
    record = fold("r1", [*events, ended(record)])
    assert (record.status, record.error) == (RunStatus.CANCELLED, "cancelled: wrong month")
    assert state_of(record).nodes["join"].status is NodeStatus.CANCELLED


@pytest.mark.parametrize("kind", [OrderKind.CANCEL, OrderKind.PAUSE, OrderKind.RESUME])
def test_an_order_after_the_end_is_refused(kind: OrderKind) -> None:
    """It stands in the stream, changes nothing, and says why."""
    record = fold("r1", [*COMPLETED, ordered(kind)])
    assert (record.status, record.paused) == (RunStatus.COMPLETED, False)
    assert "has ended (completed)" in record.orders[kind.value].refusal


@pytest.mark.parametrize(
    ("events", "order", "says"),
    [
        ([START], Order("x", OrderKind.RESTART), "has not ended"),
        (COMPLETED, Order("x", OrderKind.RESTART), "name the step"),
        ([START, failed("other")], Order("x", OrderKind.PAUSE), "is failing"),
        ([START, ordered(OrderKind.CANCEL)], Order("x", OrderKind.PAUSE), "is cancelling"),
    ],
)
def test_what_makes_no_sense_is_refused(events: list[Event[bytes]], order: Order, says: str) -> None:
    """With what to do instead."""
    assert says in refusal(fold("r1", events), order)


def test_a_restart_runs_a_step_and_what_needs_it_again() -> None:
    """One node of a map, and the join; the other results stay."""
    made = plan(fold("r1", [*COMPLETED, ordered(OrderKind.RESTART, "again", "part[1]")]), NOON)
    assert {node.name: (node.status.value, node.waits) for node in made.nodes} == {
        "part[0]": ("completed", 0),
        "part[1]": ("ready", 0),
        "join": ("waiting", 1),
        "other": ("completed", 0),
    }
    assert (made.round, made.status, made.orders) == (1, RunStatus.RUNNING, 1)


def test_a_restart_of_a_map_runs_all_of_it_again() -> None:
    """By the map's name."""
    made = plan(fold("r1", [*COMPLETED, ordered(OrderKind.RESTART, "again", "part")]), NOON)
    assert [node.status.value for node in made.nodes] == ["ready", "ready", "waiting", "completed"]


def test_a_restart_without_a_step_goes_on_from_the_failure() -> None:
    """What failed and what was not reached is run, and the run can complete."""
    events = [START, done("part[0]"), failed("part[1]"), done("other")]
    events = [*events, ended(fold("r1", events)), ordered(OrderKind.RESTART)]
    record = fold("r1", events)
    assert [node.status.value for node in plan(record, NOON).nodes] == ["completed", "ready", "waiting", "completed"]
    record = fold("r1", [*events, done("part[1]", 1, 1), done("join", 2, 1)])
    assert conclude(record) == Conclusion(result=2)
    last = fold("r1", [*events, done("part[1]", 1, 1), done("join", 2, 1), ended(record)])
    assert (last.status, last.result, last.error) == (RunStatus.COMPLETED, 2, "")


def test_what_an_earlier_round_still_writes_does_not_count() -> None:
    """A replica that slept through the restart records its verdict and its end: both are passed over."""
    events = [*COMPLETED, ordered(OrderKind.RESTART, "again", "part")]
    late = [failed("part[0]"), MADE.ended(NOON, Conclusion(RunStatus.FAILED, error="late"))]
    record = fold("r1", [*events, *late])
    assert (record.status, record.node("part[0]").verdict) == (RunStatus.RUNNING, None)


def test_of_two_restarts_at_once_one_counts() -> None:
    """The second finds a run that goes on."""
    record = fold("r1", [*COMPLETED, ordered(OrderKind.RESTART, "a", "part"), ordered(OrderKind.RESTART, "b", "part")])
    assert (record.round, record.orders["a"].refusal) == (1, "")
    assert "has not ended" in record.orders["b"].refusal


def test_a_restarted_step_has_other_ids() -> None:
    """Its verdict, its effects and the end of the run are others than those of the round before."""
    first, second = Claim("r1", "a", "1-0", "e", 1), Claim("r1", "a", "1-0", "e", 1, round=1)
    assert done("a").id != done("a", turn=1).id
    assert MADE.effects_done(NOON, first, "t").id != MADE.effects_done(NOON, second, "t").id
    assert MADE.ended(NOON, Conclusion()).id != MADE.ended(NOON, Conclusion(), 1).id
    effect = nerv.run("child")
    assert effect_identities("app", "w", first, [effect]) != effect_identities("app", "w", second, [effect])


def test_orders_are_bounded() -> None:
    """Beyond the limit a run can only be cancelled."""
    events = [START, *(ordered(OrderKind.PAUSE, str(n)) for n in range(ORDERS_LIMIT))]
    record = fold("r1", events)
    assert "the limit" in refusal(record, Order("x", OrderKind.RESUME))
    assert fold("r1", [*events, ordered(OrderKind.CANCEL)]).status is RunStatus.CANCELLING


def test_unknown_steps_are_named() -> None:
    """With the steps that there are."""
    check_steps(DAG, ["part", "part[1]", "join"])
    with pytest.raises(NotFound, match=r"no step 'part\[2\]'; it has part, join, other"):
        check_steps(DAG, ["part[2]"])
