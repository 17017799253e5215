# SPDX-License-Identifier: Apache-2.0
"""What every implementation of the queue port must do about priorities and concurrency keys. Inherit as of `QueueContract`."""

import asyncio
import time
from dataclasses import replace

from nerv.protocols.queue import END, Admission, Claim, NodeStatus, Plan, Priority, Queue, RunStatus
from nerv.testing.contracts.queue import LEASE, PATIENCE, fan, finish, nothing, shown, single, take

KEY = "customer-7"


async def let_in(queue: Queue, count: int, worker: str = "a", most: int = 2) -> list[Claim]:
    """So many claims that have a place, waited for."""
    found: list[Claim] = []
    deadline = time.monotonic() + PATIENCE
    while len(found) < count:
        assert time.monotonic() < deadline, f"only {len(found)} of {count} were let in"
        taken = [claim for claim in (await queue.take(worker, 10, 0.1)).claims if claim.node != END]
        found += [claim for claim in taken if await queue.enter(claim, KEY, most) is Admission.IN]
        await queue.renew(worker, found)
    return found


async def waiting(queue: Queue, worker: str = "a", most: int = 2) -> int:
    """How many more can be taken now; none of them is let in."""
    claims = (await queue.take(worker, 10, 0.05)).claims
    assert [await queue.enter(claim, KEY, most) for claim in claims] == [Admission.WAITS] * len(claims)
    return len(claims)


async def crowd(queue: Queue, count: int) -> Plan:
    """A run of so many nodes that are ready; the queue is intact, and has been for a lease."""
    await queue.mark_intact({})
    await asyncio.sleep(LEASE)
    plan = fan(count=count)
    await queue.start(plan)
    return plan


class PlacesContract:
    """The suite."""

    async def test_what_is_urgent_begins_first(self, queue: Queue) -> None:
        """Nodes are taken by their priority, or else by that of their run; among equals the first that was ready."""
        plans = {level: replace(single(), priority=level) for level in (Priority.LOW, Priority.NORMAL, Priority.HIGH)}
        for plan in plans.values():
            await queue.start(plan)
        urgent = single()
        await queue.start(replace(urgent, nodes=(replace(urgent.nodes[0], priority=Priority.HIGH),)))
        taken = [(await take(queue, limit=1))[0].run for _ in range(4)]
        expected = [plans[Priority.HIGH].run, urgent.run, plans[Priority.NORMAL].run, plans[Priority.LOW].run]
        assert taken == expected

    async def test_under_a_key_there_are_so_many_places(self, queue: Queue) -> None:
        """Who finds none waits; whoever ends gives his to who has waited the longest, and that was no attempt."""
        plan = await crowd(queue, 4)
        first, second = await let_in(queue, 2)
        assert await waiting(queue) == 0
        held = [
            name for name, node in (await shown(queue, plan.run)).nodes.items() if node.status is NodeStatus.LIMITED
        ]
        assert len(held) == 2
        assert await finish(queue, first, b"1")
        [third] = await let_in(queue, 1)
        assert third.attempt == 1
        assert await queue.fail(second, "boom", retry_in=60.0)
        [fourth] = await let_in(queue, 1)
        assert sorted([third.node, fourth.node]) == sorted(held)
        assert await finish(queue, third, b"1")
        assert await finish(queue, fourth, b"1")

    async def test_a_place_is_given_to_who_is_urgent(self, queue: Queue) -> None:
        """Though others have waited longer."""
        plan = await crowd(queue, 2)
        [held] = await let_in(queue, 1, most=1)
        assert await waiting(queue, most=1) == 0
        urgent = replace(single(), priority=Priority.HIGH)
        await queue.start(urgent)
        assert await waiting(queue, most=1) == 1
        assert await finish(queue, held, b"1")
        assert [claim.run for claim in await let_in(queue, 1, most=1)] == [urgent.run]
        assert (await shown(queue, plan.run)).status is RunStatus.RUNNING

    async def test_places_are_of_one_key(self, queue: Queue) -> None:
        """Another key has places of its own; asking again under the same claim changes nothing."""
        await crowd(queue, 3)
        claims = await take(queue, at_least=3)
        assert await queue.enter(claims[0], KEY, 1) is Admission.IN
        assert await queue.enter(claims[0], KEY, 1) is Admission.IN
        assert await queue.enter(claims[1], KEY, 1) is Admission.WAITS
        assert await queue.enter(claims[1], KEY, 1) is Admission.WAITS
        assert await queue.enter(claims[2], "customer-8", 1) is Admission.IN

    async def test_a_key_may_have_more_places_than_before(self, queue: Queue) -> None:
        """Replicas of the old and the new app ask side by side: whoever has a place is counted by both."""
        await crowd(queue, 3)
        one, two, three = await take(queue, at_least=3)
        assert await queue.enter(one, KEY, 1) is Admission.IN
        assert await queue.enter(two, KEY, 2) is Admission.IN
        assert await queue.enter(three, KEY, 2) is Admission.WAITS

    async def test_who_takes_over_has_the_place_of_the_dead(self, queue: Queue) -> None:
        """A node whose worker was lost needs no second place; the first one's token is old."""
        await crowd(queue, 2)
        [dead] = await let_in(queue, 1, most=1)
        await asyncio.sleep(LEASE)
        [again] = await let_in(queue, 1, "b", most=1)
        assert again.node == dead.node
        assert await queue.enter(dead, KEY, 1) is Admission.LOST
        assert await finish(queue, again, b"1")
        [other] = await let_in(queue, 1, "b", most=1)
        assert other.node != dead.node

    async def test_a_worker_that_leaves_gives_its_place_back(self, queue: Queue) -> None:
        """What it releases waits for a place like others do."""
        await crowd(queue, 2)
        [one] = await let_in(queue, 1, most=1)
        assert await queue.release(one)
        [two] = await let_in(queue, 1, most=1)
        assert await waiting(queue, most=1) <= 1
        assert await finish(queue, two, b"1")
        [three] = await let_in(queue, 1, most=1)
        assert {two.node, three.node} == {"part[0]", "part[1]"}

    async def test_nobody_is_let_in_while_others_may_work_on(self, queue: Queue) -> None:
        """As long as the queue is not known to be intact, and for a lease after it is."""
        plan = single()
        await queue.start(plan)
        for claim in await take(queue):
            assert await queue.enter(claim, KEY, 1) is Admission.WAITS
        began = time.monotonic()
        await queue.mark_intact({})
        [claim] = await let_in(queue, 1, most=1)
        assert time.monotonic() - began > LEASE / 2
        assert await finish(queue, claim, b"1")

    async def test_who_waits_for_a_place_is_given_up_with_its_run(self, queue: Queue) -> None:
        """When the run is cancelled, and when it fails."""
        plan = await crowd(queue, 3)
        [held] = await let_in(queue, 1, most=1)
        await waiting(queue, most=1)
        await queue.start(replace(plan, status=RunStatus.CANCELLING, orders=1), restore=True)
        await nothing(queue)
        assert await finish(queue, held, b"1")
        [end] = await take(queue)
        assert await queue.close(end, RunStatus.CANCELLED)
        failing = fan()
        await queue.start(failing)
        [held] = await let_in(queue, 1, most=1)
        await waiting(queue, most=1)
        assert await queue.fail(held, "boom")
        [end] = await take(queue)
        assert (end.run, end.node) == (failing.run, END)

    async def test_a_run_that_is_put_in_anew_leaves_its_places(self, queue: Queue) -> None:
        """Its nodes ask again; who waited for theirs is let in."""
        plan = await crowd(queue, 1)
        [held] = await let_in(queue, 1, most=1)
        other = single()
        await queue.start(other)
        assert await waiting(queue, most=1) == 1
        done = replace(plan.nodes[0], status=NodeStatus.COMPLETED, result=b"1")
        assert await queue.start(replace(plan, nodes=(done, plan.nodes[1]), round=1), restore=True)
        assert not await finish(queue, held, b"1")
        [let] = await let_in(queue, 1, most=1)
        assert let.run == other.run

    async def test_a_listing_of_a_later_round_stays(self, queue: Queue) -> None:
        """Who has read an earlier round removes what was found in that one."""
        await queue.listen("r", "only", "k", 0)
        await queue.listen("r", "only", "k", 1)
        await queue.deafen("r", "only", "k", 0)
        await queue.mark_intact({})
        assert await queue.awaiting(["k"]) == {"k": [("r", "only", 1)]}
        await nothing(queue)
