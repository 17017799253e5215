# SPDX-License-Identifier: Apache-2.0
"""How a batch gets to its agent, and how work ends."""

import asyncio
from collections.abc import Sequence
from functools import partial

import pytest

from nerv.cancelling import end
from nerv.errors import Invalid, NervError, Unavailable
from nerv.kafka import Received
from nerv_projector.lanes import Handover
from tests.unit.projector.records_in_memory import event, record

RECORDS = [record(event("t", "plane-N1", {}), offset=0)]


class Works:
    """A session that does what it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.taken = 0

    async def take(self, records: Sequence[Received]) -> None:
        """Count, or fail."""
        if self.error is not None:
            raise self.error
        self.taken += len(records)


def handover(session: Works) -> Handover:
    """Records for a session."""
    return Handover(partial(session.take, RECORDS), asyncio.get_running_loop().create_future())


async def test_a_batch_that_is_durable_is_acknowledged() -> None:
    """The feeder goes on when the agent is done."""
    work = handover(Works())
    await work.work()
    assert work.done.result() is None


async def test_a_fault_that_may_pass_goes_back_to_the_lane() -> None:
    """The agent lives on; the lane starts over from the cursors."""
    work = handover(Works(Unavailable("Redis is away")))
    await work.work()
    with pytest.raises(Unavailable):
        work.done.result()


@pytest.mark.parametrize("error", [Invalid("a fault of ours"), KeyError("a bug")])
async def test_a_fault_that_stays_is_never_acknowledged(error: NervError | KeyError) -> None:
    """The agent raises, and the batch stays in hand for ever."""
    work = handover(Works(error))
    with pytest.raises(type(error)):
        await work.work()
    assert not work.done.done()


async def test_what_a_stopped_lane_left_in_the_channel_is_not_worked_on() -> None:
    """Its partitions may belong to another by now."""
    session = Works()
    work = handover(session)
    work.done.cancel()
    await work.work()
    assert session.taken == 0


async def test_a_task_that_loses_a_cancellation_is_ended_all_the_same() -> None:
    """As commands of redis-py do on Python 3.11."""
    lost: list[asyncio.CancelledError] = []

    async def stubborn() -> None:
        while len(lost) < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError as cancelled:
                lost.append(cancelled)
        await asyncio.Event().wait()

    task = asyncio.create_task(stubborn())
    await asyncio.wait({task}, timeout=0.01)
    await end(task)
    assert (task.cancelled(), len(lost)) == (True, 2)
