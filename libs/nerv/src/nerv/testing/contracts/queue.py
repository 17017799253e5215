# SPDX-License-Identifier: Apache-2.0
"""What every implementation of the queue port must do. Inherit, and give a fixture `queue`: empty, with a lease of LEASE."""

import asyncio
import time
import uuid
from dataclasses import replace

import pytest

from nerv.api.workflow.v1 import workflow_pb2
from nerv.protocols.queue import (
    END,
    Claim,
    Done,
    Link,
    NodeStatus,
    Plan,
    PlannedNode,
    Queue,
    RunState,
    RunStatus,
    Taken,
)

LEASE = 0.6  # seconds: short enough to wait for, long enough for a busy machine
PATIENCE = 45.0


def message(run: str, node: str) -> bytes:
    """A task's message."""
    return workflow_pb2.Task(run=run, workflow="w", node=node, task="work").SerializeToString()


def planned(run: str, name: str, waits: int = 0, children: tuple[str, ...] = ()) -> PlannedNode:
    """A node that is ready when it waits for nothing."""
    status = NodeStatus.WAITING if waits else NodeStatus.READY
    return PlannedNode(name, message(run, name), waits, children, status)


def fan(run: str | None = None, count: int = 2, started_ms: int = 1000) -> Plan:
    """`count` nodes and one that joins them."""
    name = run or f"r-{uuid.uuid4().hex}"
    parts = [planned(name, f"part[{i}]", 0, ("join",)) for i in range(count)]
    join = planned(name, "join", count)
    return Plan(name, "w", started_ms, (*parts, join), message(name, END))


def single(run: str | None = None) -> Plan:
    """A run of one node."""
    name = run or f"r-{uuid.uuid4().hex}"
    return Plan(name, "w", 1000, (planned(name, "only"),), message(name, END))


async def take(queue: Queue, worker: str = "a", limit: int = 10, *, at_least: int = 1) -> list[Claim]:
    """Claims, waited for."""
    found: list[Claim] = []
    deadline = time.monotonic() + PATIENCE
    while len(found) < at_least:
        assert time.monotonic() < deadline, f"only {len(found)} of {at_least} nodes could be taken"
        found += (await queue.take(worker, limit, 0.2)).claims
    return found


async def finish(queue: Queue, claim: Claim, result: bytes) -> bool:
    """Complete one node."""
    [done] = await queue.complete([Done(claim, result)])
    return done


async def nothing(queue: Queue, worker: str = "b") -> Taken:
    """What there is to take now: no claim."""
    taken = await queue.take(worker, 10, 0.05)
    assert taken.claims == ()
    return taken


async def shown(queue: Queue, run: str) -> RunState:
    """The state of a run that is there."""
    state = await queue.show(run)
    assert state is not None
    assert await queue.show(run, brief=True) == replace(state, nodes={})
    return state


class QueueContract:
    """The suite."""

    async def test_a_run_goes_from_start_to_end(self, queue: Queue) -> None:
        """Parts are ready at once, the join after both, `:end` after the join; then the run is completed."""
        plan = fan()
        assert await queue.start(plan)
        parts = await take(queue, at_least=2)
        assert {claim.node for claim in parts} == {"part[0]", "part[1]"}
        assert await finish(queue, parts[0], b"1")
        await nothing(queue)
        assert await finish(queue, parts[1], b"2")
        [join] = await take(queue)
        assert (join.node, join.message, join.attempt) == ("join", message(plan.run, "join"), 1)
        assert await queue.results(plan.run, ["part[0]", "part[1]", "join"]) == {"part[0]": b"1", "part[1]": b"2"}
        assert await finish(queue, join, b"3")
        [end] = await take(queue)
        assert end.node == END
        assert await queue.close(end, RunStatus.COMPLETED, result=b"3")
        state = await shown(queue, plan.run)
        assert (state.status, state.result, state.error) == (RunStatus.COMPLETED, b"3", "")
        assert await queue.status(plan.run) is RunStatus.COMPLETED
        assert list(state.nodes) == ["part[0]", "part[1]", "join"]
        assert [node.after for node in state.nodes.values()] == [(), (), ("part[0]", "part[1]")]
        assert {node.status for node in state.nodes.values()} == {NodeStatus.COMPLETED}
        await nothing(queue)

    async def test_a_chain_is_told_and_done_at_once(self, queue: Queue) -> None:
        """A claim tells the nodes that wait for it alone; completed with some of them, the next one is ready."""
        name = f"r-{uuid.uuid4().hex}"
        nodes = [planned(name, f"n{i}", int(i > 0), (f"n{i + 1}",) if i < 4 else ()) for i in range(5)]
        await queue.start(Plan(name, "w", 1000, tuple(nodes), message(name, END)))
        [head] = (await queue.take("a", 10, 1.0, chain=3)).claims
        assert head.chain == tuple((f"n{i}", message(name, f"n{i}")) for i in (1, 2, 3))
        done = Done(head, b"0", (Link("n1", b"1", 10, 20), Link("n2", b"2", 20, 30)))
        assert await queue.complete([done]) == [True]
        assert await queue.complete([done]) == [True]
        state = await shown(queue, name)
        assert [(node.status, node.result) for node in list(state.nodes.values())[:3]] == [
            (NodeStatus.COMPLETED, str(i).encode()) for i in range(3)
        ]
        assert (state.nodes["n2"].began_ms, state.nodes["n2"].ended_ms, state.nodes["n2"].worker) == (20, 30, "a")
        [following] = await take(queue)
        assert (following.node, following.attempt, following.chain) == ("n3", 1, ())
        assert await queue.complete([Done(following, b"3", (Link("n4", b"4", 1, 2),))]) == [True]
        [end] = await take(queue)
        assert end.node == END

    async def test_a_chain_ends_where_another_node_is_waited_for(self, queue: Queue) -> None:
        """A join of two is in no chain; nor is what stands before two."""
        plan = fan()
        await queue.start(plan)
        claims = (await queue.take("a", 10, 1.0, chain=10)).claims
        assert [claim.chain for claim in claims] == [(), ()]

    async def test_each_completion_stands_for_itself(self, queue: Queue) -> None:
        """One with an old token does nothing; the others of the call are done. What a suspect frees counts as attempted."""
        one, two = fan(), single()
        await queue.start(two)
        [old] = await take(queue, "a")
        [_] = await take(queue, "b")
        await queue.start(one)
        parts = await take(queue, "b", at_least=2)
        done = [Done(parts[0], b"1", suspect=True), Done(old, b"old"), Done(parts[1], b"2", suspect=True)]
        assert await queue.complete(done) == [True, False, True]
        assert await queue.complete([]) == []
        assert (await shown(queue, two.run)).nodes["only"].status is NodeStatus.RUNNING
        [join] = await take(queue, "b")
        assert (join.node, join.attempt, join.losses) == ("join", 2, 0)

    async def test_half_of_a_backlog_is_stolen_from_its_end(self, queue: Queue) -> None:
        """As new attempts that count as no loss; what the first worker has begun stays its own, and the rest of its backlog."""
        await queue.start(fan(count=8))
        mine = await take(queue, "a", at_least=8)
        assert (await queue.steal("b", 0.1)).claims == ()
        await queue.shelve("a", mine, 1.0)
        assert await queue.begin("a", mine[:2], 0.8) == [True, True]
        assert (await queue.steal("b", 5.0)).claims == ()
        assert (await queue.steal("a", 0.1)).claims == ()
        stolen = (await queue.steal("b", 0.1)).claims
        assert {claim.node for claim in stolen} == {claim.node for claim in mine[5:]}
        assert {(claim.attempt, claim.losses) for claim in stolen} == {(2, 0)}
        assert await queue.begin("a", mine[2:], 0.0) == [True, True, True, False, False, False]
        assert await queue.complete([Done(claim, b"1") for claim in mine]) == [True] * 5 + [False] * 3
        assert await queue.complete([Done(claim, b"1") for claim in stolen]) == [True] * 3
        [join] = await take(queue, "a")
        assert join.node == "join"

    async def test_who_finds_nothing_hears_of_a_backlog_elsewhere(self, queue: Queue) -> None:
        """Instead of waiting; one that is not worth the move, and one's own, are none."""
        await queue.start(fan(count=2))
        mine = await take(queue, "a", at_least=2)
        assert not (await queue.take("b", 10, 0.0, unless=0.1)).elsewhere
        await queue.shelve("a", mine, 1.0)
        async with asyncio.timeout(60):
            assert (await queue.take("b", 10, 600.0, unless=0.1)).elsewhere
        assert not (await queue.take("b", 10, 0.01, unless=5.0)).elsewhere
        assert not (await queue.take("b", 10, 0.01)).elsewhere
        assert not (await queue.take("a", 10, 0.01, unless=0.1)).elsewhere
        await queue.start(single())
        taken = await queue.take("b", 10, 600.0, unless=0.1)
        assert (len(taken.claims), taken.elsewhere) == (1, False)

    async def test_the_last_of_a_backlog_is_stolen_too(self, queue: Queue) -> None:
        """Of one node half is that node; who it was stolen from may not begin it."""
        await queue.start(single())
        [mine] = await take(queue, "a")
        await queue.shelve("a", [mine], 1.0)
        [stolen] = (await queue.steal("b", 0.1)).claims
        assert await queue.begin("a", [mine], 0.0) == [False]
        assert await finish(queue, stolen, b"1")

    async def test_what_was_shelved_twice_is_stolen_as_a_second_attempt(self, queue: Queue) -> None:
        """A shelve whose answer was lost is repeated, and the second copy outlives the first: the thief looks."""
        await queue.start(single())
        [mine] = await take(queue, "a")
        for _ in range(2):
            await queue.shelve("a", [mine], 1.0)
        assert await queue.begin("a", [mine], 0.5) == [True]
        [stolen] = (await queue.steal("b", 0.1)).claims
        assert (stolen.attempt, stolen.losses) == (2, 0)

    async def test_what_was_taken_over_is_stolen_from_nobody(self, queue: Queue) -> None:
        """The list of a worker that died names what others work on by now; an emptied list names nothing."""
        await queue.start(fan(count=4))
        dead = await take(queue, "a", at_least=4)
        await queue.shelve("a", dead, 1.0)
        living = await take(queue, "b", at_least=4)
        assert (await queue.steal("c", 0.1)).claims == ()
        await queue.shelve("b", living, 1.0)
        await queue.shelve("b", (), 0.0)
        assert (await queue.steal("c", 0.1)).claims == ()
        assert await queue.complete([Done(claim, b"1") for claim in living]) == [True] * 4

    async def test_the_depth_tells_what_waits(self, queue: Queue) -> None:
        """Ready and nobody's, taken, due later; and how long the oldest has waited."""
        assert (await queue.depth()).ready == 0
        await queue.start(fan(count=3))
        assert (await queue.depth()).ready == 3
        [one] = await take(queue, limit=1)
        await queue.fail(one, "boom", retry_in=60.0)
        [_] = await take(queue, limit=1)
        deadline = time.monotonic() + PATIENCE
        while (depth := await queue.depth()).oldest_seconds < 0.04:
            assert time.monotonic() < deadline
        assert (depth.ready, depth.taken, depth.delayed) == (1, 1, 1)

    async def test_a_run_is_started_once(self, queue: Queue) -> None:
        """A second start changes nothing, whatever has happened since."""
        plan = single()
        assert await queue.start(plan)
        assert not await queue.start(plan)
        [claim] = await take(queue)
        assert not await queue.start(plan)
        assert not await queue.start(plan, restore=True)
        await nothing(queue)
        assert await finish(queue, claim, b"1")

    async def test_a_run_without_tasks_ends_at_once(self, queue: Queue) -> None:
        """Its `:end` is ready from the start."""
        await queue.start(Plan("empty-" + uuid.uuid4().hex, "w", 1, (), message("e", END)))
        [end] = await take(queue)
        assert end.node == END

    async def test_a_node_is_taken_by_one_worker(self, queue: Queue) -> None:
        """Two workers that take at once share the nodes."""
        await queue.start(fan(count=6))
        one, two = await asyncio.gather(queue.take("a", 3, 1.0), queue.take("b", 3, 1.0))
        assert len({claim.node for claim in one.claims + two.claims}) == 6

    async def test_a_lease_that_runs_out_frees_the_node(self, queue: Queue) -> None:
        """Another worker takes it with a new token, told that one attempt was lost; the first one's writes do nothing."""
        plan = single()
        await queue.start(plan)
        [first] = await take(queue, "a")
        [second] = await take(queue, "b")
        assert (second.node, second.attempt, second.losses) == (first.node, first.attempt + 1, 1)
        assert await queue.renew("a", [first]) == [first]
        assert not await finish(queue, first, b"old")
        assert not await queue.fail(first, "old")
        assert not await queue.fail(first, "old", retry_in=0.0)
        assert not await queue.release(first)
        assert (await shown(queue, plan.run)).nodes["only"].status is NodeStatus.RUNNING
        assert await finish(queue, second, b"new")
        assert (await shown(queue, plan.run)).nodes["only"].result == b"new"

    async def test_a_renewed_node_stays(self, queue: Queue) -> None:
        """For three leases nobody else gets a node whose worker renews it."""
        await queue.start(single())
        [claim] = await take(queue, "a")
        until = time.monotonic() + 3 * LEASE
        while time.monotonic() < until:
            assert await queue.renew("a", [claim]) == []
            await nothing(queue)
        assert await finish(queue, claim, b"1")

    async def test_writes_may_be_repeated(self, queue: Queue) -> None:
        """A finish, a retry or a close whose answer was lost finds its work done, once."""
        plan = fan()
        await queue.start(plan)
        one, two = await take(queue, at_least=2)
        assert await queue.fail(one, "boom", retry_in=0.0)
        assert await queue.fail(one, "boom", retry_in=0.0)
        [again] = await take(queue)
        assert (again.node, again.failures, again.losses) == (one.node, 1, 0)
        for claim in (again, again, two, two):
            assert await finish(queue, claim, b"1")
        [join] = await take(queue)
        await finish(queue, join, b"2")
        [end] = await take(queue)
        assert await queue.close(end, RunStatus.COMPLETED, result=b"2")
        assert await queue.close(end, RunStatus.COMPLETED, result=b"2")
        await nothing(queue)

    async def test_a_retry_waits_for_its_time(self, queue: Queue) -> None:
        """A node that failed is not taken before its delay is over, and says then how often it failed."""
        await queue.start(single())
        [claim] = await take(queue)
        failed = time.monotonic()
        assert await queue.fail(claim, "boom", retry_in=0.4)
        [again] = await take(queue)
        assert time.monotonic() - failed >= 0.35
        assert (again.failures, again.attempt) == (1, 2)

    async def test_a_failed_node_fails_its_run(self, queue: Queue) -> None:
        """What had not begun is cancelled, what is running may end, nothing new is begun, and then the run ends."""
        plan = fan(count=3)
        await queue.start(plan)
        one, two = await take(queue, limit=2, at_least=2)
        assert await queue.fail(one, "boom")
        await nothing(queue)
        assert (await shown(queue, plan.run)).status is RunStatus.FAILING
        assert await finish(queue, two, b"2")
        [end] = await take(queue)
        assert end.node == END
        assert await queue.close(end, RunStatus.FAILED, error="part[0]: boom")
        state = await shown(queue, plan.run)
        assert (state.status, state.error) == (RunStatus.FAILED, "part[0]: boom")
        assert [state.nodes[name].status.value for name in (one.node, two.node, "part[2]", "join")] == [
            "failed",
            "completed",
            "cancelled",
            "waiting",
        ]

    async def test_a_lost_attempt_of_a_failing_run_is_looked_after(self, queue: Queue) -> None:
        """It may have a recorded result, so that it is given to a worker, who is told that the run is over."""
        plan = fan()
        await queue.start(plan)
        one, _two = await take(queue, at_least=2)
        await queue.fail(one, "boom")
        [again] = await take(queue, "b")
        assert (again.over, again.losses) == (True, 1)
        assert await queue.fail(again, "the run is failing", cancelled=True)
        assert (await shown(queue, plan.run)).nodes[again.node].status is NodeStatus.CANCELLED
        [end] = await take(queue)
        assert end.node == END

    async def test_a_released_node_is_free_at_once(self, queue: Queue) -> None:
        """Others take it before the lease is over; it counts neither as lost nor as failed."""
        await queue.start(single())
        [claim] = await take(queue, "a")
        released = time.monotonic()
        assert await queue.release(claim)
        assert await queue.release(claim)
        [again] = await take(queue, "b")
        assert time.monotonic() - released < LEASE
        assert (again.attempt, again.losses, again.failures) == (2, 0, 0)

    async def test_a_loss_is_told_until_it_is_made_good(self, queue: Queue) -> None:
        """A queue that was never marked is not intact; once marked it is, and what was put in is taken as ever."""
        assert not (await nothing(queue)).intact
        await queue.start(single())
        assert not (await queue.take("a", 1, 1.0)).intact
        await queue.mark_intact({})
        assert (await nothing(queue)).intact

    async def test_what_is_lost_while_all_is_put_back_is_noticed(self, queue: Queue) -> None:
        """A witness counts once; without one that is there the queue is not intact."""
        await queue.mark_intact({}, witness="nobody")
        assert not (await nothing(queue)).intact
        await queue.mark_intact({}, witness=await queue.witness("a"))
        assert (await nothing(queue)).intact

    async def test_a_restored_run_goes_on_where_it_was(self, queue: Queue) -> None:
        """Completed nodes are not run again; what was attempted keeps its count; only the rest is ready."""
        run = f"r-{uuid.uuid4().hex}"
        done = PlannedNode(
            "part[0]", message(run, "p"), 0, ("join",), NodeStatus.COMPLETED, result=b"7", began_ms=3, ended_ms=5
        )
        tried = PlannedNode(
            "part[1]", message(run, "p"), 0, ("join",), NodeStatus.READY, error="boom", attempts=2, failures=2
        )
        plan = Plan(run, "w", 1, (done, tried, planned(run, "join", 1)), message(run, END))
        assert await queue.start(plan, restore=True)
        [claim] = await take(queue)
        assert (claim.node, claim.attempt, claim.failures) == ("part[1]", 3, 2)
        await finish(queue, claim, b"8")
        [join] = await take(queue)
        assert await queue.results(run, ["part[0]", "part[1]"]) == {"part[0]": b"7", "part[1]": b"8"}
        assert join.node == "join"
        known = (await shown(queue, run)).nodes["part[0]"]
        assert (known.began_ms, known.ended_ms) == (3, 5)

    async def test_a_restored_failing_run_ends(self, queue: Queue) -> None:
        """Of a run that was failing only the end is left."""
        run = f"r-{uuid.uuid4().hex}"
        failed = PlannedNode("only", message(run, "only"), status=NodeStatus.FAILED, error="boom", attempts=1)
        await queue.start(Plan(run, "w", 1, (failed,), message(run, END), status=RunStatus.FAILING), restore=True)
        [end] = await take(queue)
        assert end.node == END

    async def test_an_unfinished_start_is_found(self, queue: Queue) -> None:
        """A run that was intended and not started comes up as an orphan; dropped, it does not come again."""
        run = f"r-{uuid.uuid4().hex}"
        await queue.intend(run, 0.1)
        deadline = time.monotonic() + PATIENCE
        while not (orphans := (await queue.take("a", 10, 0.1)).orphans):
            assert time.monotonic() < deadline
        assert [orphan.run for orphan in orphans] == [run]
        await queue.drop(orphans[0])
        await asyncio.sleep(LEASE)
        assert (await nothing(queue)).orphans == ()

    async def test_a_finished_start_is_no_orphan(self, queue: Queue) -> None:
        """Starting the run takes its intention away; so does one that is there already."""
        plan = single()
        await queue.intend(plan.run, 0.1)
        await queue.start(plan)
        await queue.intend(plan.run, 0.1)
        [claim] = await take(queue)
        await asyncio.sleep(0.15)
        await queue.renew("a", [claim])
        assert (await nothing(queue)).orphans == ()

    async def test_runs_are_listed_newest_first(self, queue: Queue) -> None:
        """By their start, with those that are only remembered, at most as many as asked for."""
        workflow = f"w-{uuid.uuid4().hex[:8]}"
        plans = [
            Plan(f"{workflow}-{i}", workflow, 1000 * i, (), message("r", END)) for i in range(3)
        ]  # three starts, one second apart
        for plan in plans:
            await queue.start(plan)
        await queue.mark_intact({workflow: {f"{workflow}-old": 500}})
        assert await queue.runs(workflow, 3) == [(f"{workflow}-{i}", 1000 * i) for i in (2, 1)] + [
            (f"{workflow}-old", 500)
        ]
        assert await queue.runs("nobody", 3) == []

    async def test_unknown_runs_are_none(self, queue: Queue) -> None:
        """A run that is not here has no state and no results."""
        assert await queue.show("nobody") is None
        assert await queue.show("nobody", brief=True) is None
        assert await queue.status("nobody") is None
        assert await queue.results("nobody", ["a"]) == {}

    async def test_a_paused_run_begins_nothing_until_it_is_resumed(self, queue: Queue) -> None:
        """What is running may end; what becomes ready is held, and is taken after the resumption, once."""
        plan = fan()
        await queue.start(plan)
        [one] = await take(queue, limit=1)
        assert not await queue.start(replace(plan, paused=True, orders=1), restore=True)
        assert await finish(queue, one, b"1")
        await nothing(queue)
        state = await shown(queue, plan.run)
        assert (state.paused, state.status, state.nodes["part[1]"].status) == (True, RunStatus.RUNNING, NodeStatus.HELD)
        assert not await queue.start(replace(plan, paused=False, orders=2), restore=True)
        [two] = await take(queue)
        assert (two.node, two.attempt) == ("part[1]", 1)
        assert await finish(queue, two, b"2")
        assert [claim.node for claim in await take(queue)] == ["join"]
        await nothing(queue)

    async def test_an_older_order_does_not_undo_a_newer_one(self, queue: Queue) -> None:
        """Orders may be carried out in any order, and more than once: the latest one stands."""
        plan = single()
        await queue.start(plan)
        for known in (replace(plan, orders=2), replace(plan, paused=True, orders=1), replace(plan, orders=2)):
            await queue.start(known, restore=True)
        assert not (await shown(queue, plan.run)).paused
        assert len(await take(queue)) == 1

    async def test_a_paused_run_that_fails_ends(self, queue: Queue) -> None:
        """A node that was running fails: what was held is given up, and the run ends without being resumed."""
        plan = fan()
        await queue.start(plan)
        [one] = await take(queue, limit=1)
        await queue.start(replace(plan, paused=True, orders=1), restore=True)
        await nothing(queue)
        assert await queue.fail(one, "boom")
        [end] = await take(queue)
        assert end.node == END
        assert (await shown(queue, plan.run)).nodes["part[1]"].status is NodeStatus.CANCELLED

    async def test_a_lost_node_of_a_paused_run_is_held(self, queue: Queue) -> None:
        """Its worker died: it is not run again before the resumption, and its loss is counted."""
        plan = single()
        await queue.start(plan)
        await take(queue, "a")
        await queue.start(replace(plan, paused=True, orders=1), restore=True)
        deadline = time.monotonic() + PATIENCE
        while (await shown(queue, plan.run)).nodes["only"].status is not NodeStatus.HELD:
            assert time.monotonic() < deadline
            await nothing(queue)
        await queue.start(replace(plan, orders=2), restore=True)
        [again] = await take(queue)
        assert (again.attempt, again.losses) == (2, 1)

    async def test_a_cancelled_run_ends_without_what_had_not_begun(self, queue: Queue) -> None:
        """Held and ready nodes are cancelled, a retry is not waited for, and who works on a node is told."""
        plan = fan(count=4)
        await queue.start(plan)
        one, two = await take(queue, "a", limit=2, at_least=2)
        assert await queue.fail(one, "boom", retry_in=3600.0)
        await queue.start(replace(plan, status=RunStatus.CANCELLING, orders=1), restore=True)
        assert await queue.renew("a", [two]) == [replace(two, over=True)]
        assert await queue.renew("a", [replace(two, over=True)]) == []
        [again] = await take(queue)
        assert (again.node, again.over) == (one.node, True)
        for claim in (again, two):
            assert await queue.fail(claim, "cancelled", cancelled=True)
        [end] = await take(queue)
        assert await queue.close(end, RunStatus.CANCELLED, error="cancelled")
        state = await shown(queue, plan.run)
        assert (state.status, state.error) == (RunStatus.CANCELLED, "cancelled")
        parts = [state.nodes[f"part[{i}]"].status for i in range(4)]
        assert parts == [NodeStatus.CANCELLED] * 4
        await nothing(queue)

    async def test_a_paused_run_can_be_cancelled(self, queue: Queue) -> None:
        """What is held is given up."""
        plan = fan()
        await queue.start(replace(plan, paused=True, orders=1))
        await nothing(queue)
        await queue.start(replace(plan, status=RunStatus.CANCELLING, orders=2), restore=True)
        [end] = await take(queue)
        assert end.node == END

    async def test_a_restarted_run_replaces_its_earlier_round(self, queue: Queue) -> None:
        """Kept results are there, the rest is run with new tokens; what knows only the earlier round changes nothing."""
        plan = fan()
        await queue.start(plan)
        one, two = await take(queue, at_least=2)
        await finish(queue, one, b"1")
        await queue.fail(two, "boom")
        [end] = await take(queue)
        await queue.close(end, RunStatus.FAILED, error="boom")
        kept = {one.node: replace(plan.nodes[0], status=NodeStatus.COMPLETED, result=b"1")}
        parts = [kept.get(node.name, node) for node in plan.nodes[:2]]
        again = replace(plan, nodes=(*parts, replace(plan.nodes[2], waits=1)), orders=1, round=1)
        assert await queue.start(again, restore=True)
        assert not await queue.start(again, restore=True)
        assert not await queue.start(replace(plan, paused=True, orders=2), restore=True)
        [claim] = await take(queue)
        assert (claim.node, claim.round) == (two.node, 1)
        assert not await finish(queue, two, b"old")
        assert await finish(queue, claim, b"2")
        [join] = await take(queue)
        assert await queue.results(plan.run, ["part[0]", "part[1]"]) == {one.node: b"1", two.node: b"2"}
        assert await finish(queue, join, b"3")
        assert [last.node for last in await take(queue)] == [END]

    async def test_an_order_that_may_be_recorded_is_looked_for(self, queue: Queue) -> None:
        """Also of a run that is there: it comes up as an orphan, and the run goes on as before."""
        plan = single()
        await queue.start(plan)
        [claim] = await take(queue)
        await queue.intend(plan.run, 0.05, order=True)
        deadline = time.monotonic() + PATIENCE
        while not (orphans := (await queue.take("b", 10, 0.1)).orphans):
            assert time.monotonic() < deadline
            await queue.renew("a", [claim])
        assert [orphan.run for orphan in orphans] == [plan.run]
        await queue.drop(orphans[0])
        assert await finish(queue, claim, b"1")

    async def test_a_sleeping_node_is_woken_when_it_is_due(self, queue: Queue) -> None:
        """The run is parked meanwhile: known, running, and put back by whoever takes the entry of its node."""
        plan = single()
        await queue.start(plan)
        [claim] = await take(queue)
        due = time.time_ns() // 1_000_000 + 300
        assert await queue.wait(claim, due, "", 0)
        assert await queue.known([plan.run, "nobody"]) == [True, False]
        assert await queue.status(plan.run) is RunStatus.RUNNING
        assert await queue.show(plan.run) is None
        assert not await finish(queue, claim, b"old")
        asleep = replace(plan.nodes[0], status=NodeStatus.SLEEPING, due_ms=due, attempts=1)
        assert not await queue.start(replace(plan, nodes=(asleep,)), restore=True)
        assert (await orphaned(queue)) == [plan.run]
        assert await queue.start(plan, restore=True)
        [again] = await take(queue)
        assert again.node == "only"
        assert await finish(queue, again, b"1")

    async def test_a_sleeping_node_beside_others_stays_in_its_run(self, queue: Queue) -> None:
        """It is woken by its time, and keeps the run from ending."""
        plan = fan()
        await queue.start(plan)
        one, two = await take(queue, at_least=2)
        assert await queue.wait(one, time.time_ns() // 1_000_000 + 200, "", 0)
        assert await queue.wait(one, time.time_ns() // 1_000_000 + 200, "", 0)
        assert (await shown(queue, plan.run)).nodes[one.node].status is NodeStatus.SLEEPING
        [again] = await take(queue)
        assert (again.node, again.attempt, again.losses) == (one.node, 2, 0)
        for claim in (again, two):
            assert await finish(queue, claim, b"1")
        assert [claim.node for claim in await take(queue)] == ["join"]

    async def test_a_plan_that_knows_more_wakes_what_sleeps(self, queue: Queue) -> None:
        """A signal has come: its node is ready; told before the node slept, it does not sleep at all."""
        plan = fan()
        await queue.start(plan)
        one, two = await take(queue, at_least=2)
        assert await queue.wait(one, 0, "", 0)
        assert not await queue.start(replace(plan, orders=1), restore=True)
        [woken] = await take(queue)
        assert woken.node == one.node
        assert await queue.wait(two, 0, "", 0)
        [again] = await take(queue)
        assert again.node == two.node
        assert await queue.wait(again, 0, "", 1)
        await nothing(queue)

    async def test_who_waits_for_an_event_is_found_by_its_key(self, queue: Queue) -> None:
        """Once it listens or sleeps, parked or woken, until it has ended; not while the queue may have lost some."""
        plans = [single(), single()]
        for plan in plans:
            await queue.start(plan)
        claims = {claim.run: claim for claim in await take(queue, at_least=2)}
        await queue.listen(plans[0].run, "only", "k1", 0)
        await queue.listen(plans[1].run, "only", "k10", 0)
        assert await queue.awaiting(["k1"]) is None
        await queue.mark_intact({})
        assert await queue.awaiting(["k1", "k2"]) == {"k1": [(plans[0].run, "only", 0)]}
        assert await queue.wait(claims[plans[0].run], 0, "k1", 0)
        assert await queue.awaiting(["k1"]) == {"k1": [(plans[0].run, "only", 0)]}
        woken = replace(plans[0].nodes[0], key="k1", attempts=1)
        assert await queue.start(replace(plans[0], nodes=(woken,), orders=1), restore=True)
        assert await queue.awaiting(["k1"]) == {"k1": [(plans[0].run, "only", 0)]}
        again = next(claim for claim in await take(queue) if claim.run == plans[0].run)
        assert await queue.unfold(again, b"1")
        assert await queue.awaiting(["k1"]) == {}
        await queue.deafen(plans[1].run, "only", "k10", 0)
        assert await queue.awaiting(["k10"]) == {}

    @pytest.mark.parametrize("beside", [False, True])
    async def test_what_is_woken_early_is_not_due_later(self, queue: Queue, beside: bool) -> None:
        """A wait with a time-out ends by an event, in its run or parked: nothing of it is kept until the time has passed."""
        plan = fan() if beside else single()
        await queue.start(plan)
        claims = await take(queue, at_least=len(plan.nodes) - 1 if beside else 1)
        later = time.time_ns() // 1_000_000 + 3_600_000
        assert await queue.wait(claims[0], later, "", 0)
        assert (await queue.depth()).delayed == 1
        woken = [
            replace(node, due_ms=later, attempts=1) if node.name == claims[0].node else node for node in plan.nodes
        ]
        await queue.start(replace(plan, nodes=tuple(woken), orders=1), restore=True)
        [again] = await take(queue)
        assert await queue.unfold(again, b"1")
        assert (await queue.depth()).delayed == 0

    async def test_what_sleeps_is_given_up_when_its_run_fails(self, queue: Queue) -> None:
        """It is handed out once more, told that the run is over, and its key finds nobody any more."""
        plan = fan()
        await queue.start(plan)
        one, two = await take(queue, at_least=2)
        await queue.mark_intact({})
        assert await queue.wait(one, time.time_ns() // 1_000_000 + 3_600_000, "k", 0)
        assert await queue.fail(two, "boom")
        [again] = await take(queue)
        assert (again.node, again.over) == (one.node, True)
        assert await queue.fail(again, "the run is over", cancelled=True)
        assert await queue.awaiting(["k"]) == {}
        assert [claim.node for claim in await take(queue)] == [END]

    async def test_nodes_are_added_by_the_node_that_decides_how_many(self, queue: Queue) -> None:
        """They are ready at once, stand behind it, and whoever waits for it waits for them, too; none may be added."""
        for count in (0, 3):
            run = f"r-{uuid.uuid4().hex}"
            parts = (planned(run, "map", 0, ("join",)), planned(run, "join", 1))
            await queue.start(Plan(run, "w", 1000, parts, message(run, END)))
            [claim] = await take(queue)
            grown = [planned(run, f"map[{i}]", 0, ("join",)) for i in range(count)]
            for _ in range(2):
                assert await queue.unfold(claim, str(count).encode(), grown=grown)
            items = await take(queue, at_least=count) if count else []
            assert {claim.node for claim in items} == {node.name for node in grown}
            assert list((await shown(queue, run)).nodes) == ["map", *(node.name for node in grown), "join"]
            for item in items:
                assert await finish(queue, item, b"1")
            [join] = await take(queue)
            assert join.node == "join"
            assert (await queue.results(run, ["map"])) == {"map": str(count).encode()}
            assert await finish(queue, join, b"2")
            assert [last.node for last in await take(queue)] == [END]

    async def test_what_follows_a_decision_that_was_found_is_suspect(self, queue: Queue) -> None:
        """Whoever takes what becomes ready by it is not the first, as far as is known, and takes no chain with it."""
        run = f"r-{uuid.uuid4().hex}"
        parts = (planned(run, "map", 0, ("other",)), planned(run, "other", 1, ("last",)), planned(run, "last", 1))
        await queue.start(Plan(run, "w", 1000, parts, message(run, END)))
        [claim] = await take(queue)
        grown = [planned(run, "map[0]", 0, ("other",))]
        assert await queue.unfold(claim, b"1", grown=grown, suspect=True)
        [item] = await take(queue)
        assert (item.node, item.attempt, item.losses) == ("map[0]", 2, 0)
        [done] = await queue.complete([Done(item, b"1", suspect=True)])
        assert done
        [other] = await take(queue)
        assert (other.node, other.attempt) == ("other", 2)

    async def test_nodes_are_skipped_by_the_node_that_decides(self, queue: Queue) -> None:
        """They are never handed out, have an empty result, and hold up nobody; also when they wait for each other."""
        run = f"r-{uuid.uuid4().hex}"
        parts = (
            planned(run, "when", 0, ("a", "b", "c")),
            planned(run, "a", 1, ("b",)),
            planned(run, "b", 2, ("join",)),
            planned(run, "c", 1, ("join",)),
            planned(run, "join", 2),
        )
        await queue.start(Plan(run, "w", 1000, parts, message(run, END)))
        [claim] = await take(queue)
        assert await queue.unfold(claim, b"false", skipped=["a", "b"])
        [other] = await take(queue)
        assert other.node == "c"
        assert await finish(queue, other, b"1")
        [join] = await take(queue)
        assert await queue.results(run, ["a", "b", "c"]) == {"a": b"", "b": b"", "c": b"1"}
        assert (join.node, (await shown(queue, run)).nodes["b"].status) == ("join", NodeStatus.SKIPPED)

    async def test_a_skipped_node_stays_skipped_whatever_else_it_waits_for(self, queue: Queue) -> None:
        """What it waits for beside the condition ends later."""
        run = f"r-{uuid.uuid4().hex}"
        parts = (
            planned(run, "when", 0, ("inner",)),
            planned(run, "other", 0, ("inner",)),
            planned(run, "inner", 2, ("join",)),
            planned(run, "join", 1),
        )
        await queue.start(Plan(run, "w", 1000, parts, message(run, END)))
        claims = {claim.node: claim for claim in await take(queue, at_least=2)}
        assert await queue.unfold(claims["when"], b"false", skipped=["inner"])
        [join] = await take(queue)
        other = claims["other"]
        assert await finish(queue, other, b"1")
        assert (await shown(queue, run)).nodes["inner"].status is NodeStatus.SKIPPED
        assert await finish(queue, join, b"1")
        assert [last.node for last in await take(queue)] == [END]

    async def test_a_run_comes_up_when_its_deadline_has_passed(self, queue: Queue) -> None:
        """As an orphan, once; one that has ended before does not."""
        plan = replace(single(), deadline_ms=time.time_ns() // 1_000_000 + 200)
        await queue.start(plan)
        await queue.start(replace(single(), deadline_ms=plan.deadline_ms))
        claims = {claim.run: claim for claim in await take(queue, at_least=2)}
        [done] = [claim for run, claim in claims.items() if run != plan.run]
        await finish(queue, done, b"1")
        [end] = await take(queue)
        await queue.close(end, RunStatus.COMPLETED)
        assert await orphaned(queue) == [plan.run]


async def orphaned(queue: Queue) -> list[str]:
    """The runs that come up as orphans, waited for; their entries are dropped."""
    deadline = time.monotonic() + PATIENCE
    while not (orphans := (await queue.take("a", 10, 0.1)).orphans):
        assert time.monotonic() < deadline
    for orphan in orphans:
        await queue.drop(orphan)
    return [orphan.run for orphan in orphans]
