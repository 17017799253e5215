# SPDX-License-Identifier: Apache-2.0
"""The tail of history does not read back what its own replica writes, and misses nothing of what others do."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from nerv.cloudevents.proto_format import to_us
from nerv.history import content_digest
from nerv.kafka import FencedWriter, KafkaSettings, Outgoing
from nerv.kafka.admin import Admin
from nerv.kafka.owning import Fence, fence_record
from nerv.topics import Topic
from nerv.types import Event
from nerv_temporal.index import Index, row_of
from nerv_temporal.model import Stored
from nerv_temporal.records import SOURCE, event_record
from nerv_temporal.tail import Tail

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)
OURS = 400
STREAM = "thing-1"


class Replica:
    """One that owns the only partition of a topic; `version` is the last one it has written."""

    def __init__(self, settings: KafkaSettings, topic: str, tail: Tail) -> None:
        self._topic, self._tail = topic, tail
        self._writer = FencedWriter(settings, topic, 0, f"{topic}-writer")
        self.version = 0

    async def own(self, name: str) -> None:
        """Shut out whoever owned it before."""

        def fence(token: str, producer: str) -> Outgoing:
            return fence_record(self._topic, 0, Fence(name, f"http://{name}", token, producer), NOON, SOURCE)

        await self._tail.reached(0, (await self._writer.take_over(fence)).offset, 30.0)

    async def write(self, version: int, *, applied: bool) -> int:
        """Commit an event, and have the index know it at once, as an owner does, if `applied`; its offset."""
        event: Event[bytes] = Event(
            f"e-{version}", "test", "thing.noted.v1", NOON, b"{}", subject=STREAM, sequence=version, recorded_time=NOON
        )
        last = await self._writer.commit([event_record(self._topic, 0, event)])
        if applied:
            self._tail.advance(0, last, [row_of(Stored(event, content_digest(event)))], last + 1)
        return last

    async def close(self) -> None:
        """Let the producers go."""
        await self._writer.close()


@pytest_asyncio.fixture
async def tail(kafka: str, mesh_name: str, tmp_path: Path) -> AsyncIterator[Tail]:
    """A tail that follows a new topic of one partition."""
    settings = KafkaSettings(bootstrap_servers=kafka)
    Admin(settings, "test").create([Topic(mesh_name, 1)])
    index = Index(tmp_path / "index", mesh_name)
    async with Tail(settings, "test", mesh_name, 1, index) as following:
        await following.catch_up()
        yield following
    index.close()


async def test_what_we_write_rests_and_what_others_write_is_seen(kafka: str, mesh_name: str, tail: Tail) -> None:
    """Of hundreds of commits of our own few are read back; of an owner who deposes us everything is, and in order."""
    settings = KafkaSettings(bootstrap_servers=kafka)
    us, other = (Replica(settings, mesh_name, tail) for _ in range(2))
    await us.own("us")
    for version in range(1, OURS + 1):
        await us.write(version, applied=True)
    assert tail.records_read < OURS / 2
    assert tail.index.version(STREAM) == OURS

    await other.own("other")
    assert tail.index.partition(0).address == "http://other"
    for version in range(OURS + 1, 2 * OURS):
        await other.write(version, applied=False)
    last = await other.write(2 * OURS, applied=False)
    await tail.reached(0, last, 30.0)
    versions = [event.sequence for event in tail.index.events(STREAM, 1, 2 * OURS, backward=False)]
    assert versions == list(range(1, 2 * OURS + 1))
    assert tail.index.partition(0).recorded_us == to_us(NOON)
    await asyncio.gather(us.close(), other.close())


async def test_a_resting_partition_is_looked_at_again(kafka: str, mesh_name: str, tail: Tail) -> None:
    """Nobody asks for it, and still the address of a new owner is known soon after its fence."""
    settings = KafkaSettings(bootstrap_servers=kafka)
    us, other = (Replica(settings, mesh_name, tail) for _ in range(2))
    await us.own("us")
    for version in range(1, 50):
        await us.write(version, applied=True)
    with tail.watched([0]) as moved:
        taking_over = asyncio.create_task(other.own("other"))
        async with asyncio.timeout(30):
            while tail.index.partition(0).address != "http://other":
                await moved.wait()
                moved.clear()
        await taking_over
    await asyncio.gather(us.close(), other.close())


async def test_a_tail_ends_in_peace_while_a_partition_goes_to_rest(
    kafka: str, mesh_name: str, tail: Tail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That its consumer answers no more is no fault then, and the service does not end by one."""
    monkeypatch.setattr(tail._consumer, "_answer_asked", lambda: None)  # it ends before it comes to what is asked
    us = Replica(KafkaSettings(bootstrap_servers=kafka), mesh_name, tail)
    await us.own("us")
    async with asyncio.timeout(30):
        version = 0
        while not tail._resting:
            version += 1
            await us.write(version, applied=True)
    await tail.__aexit__(None, None, None)
    await asyncio.sleep(0)
    assert tail.crashed is not None
    assert not tail.crashed.done()
    await us.close()
