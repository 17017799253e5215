# SPDX-License-Identifier: Apache-2.0
"""A fenced writer that publishes to other topics: places and receipts in one transaction, refusals that leave nothing."""

import random
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from nerv.errors import NotFound, TooLarge
from nerv.kafka import BatchConsumer, CommitFailed, FencedWriter, KafkaSettings, Outgoing, Position, RecordsRefused
from nerv.kafka.admin import Admin
from nerv.topics import Topic

LIMIT = 2000  # bytes of a batch that the topic takes


@pytest.fixture
def settings(kafka: str, mesh_name: str) -> KafkaSettings:
    """With a topic of receipts that is named like the mesh, and one of small events."""
    found = KafkaSettings(bootstrap_servers=kafka)
    events = Topic(f"{mesh_name}.events", 1, config={"max.message.bytes": str(LIMIT)})
    Admin(found, mesh_name).create([Topic(mesh_name, 1), events])
    return found


@pytest_asyncio.fixture
async def writer(settings: KafkaSettings, mesh_name: str) -> AsyncIterator[FencedWriter]:
    """One that owns the topic of receipts."""
    made = FencedWriter(settings, mesh_name, 0, mesh_name)
    await made.take_over(lambda token, producer: Outgoing(mesh_name, b"fence", partition=0))
    yield made
    await made.close()


async def read(settings: KafkaSettings, topic: str, count: int) -> list[bytes | None]:
    """The first committed values."""
    found: list[bytes | None] = []
    async with BatchConsumer(settings, topic, topic, assign={(topic, 0): 0}) as consumer:
        async for batch in consumer.batches():
            found += [record.value() for record in batch]
            if len(found) >= count:
                return found
    raise AssertionError


async def test_receipts_tell_the_places_and_stand_with_the_events(
    settings: KafkaSettings, writer: FencedWriter, mesh_name: str
) -> None:
    """Two transactions; what each receipt says is where its event stands."""
    told: list[list[Position]] = []

    def receipts(places: Sequence[Position]) -> list[Outgoing]:
        told.append(list(places))
        return [Outgoing(mesh_name, b"receipt", partition=0)]

    events = f"{mesh_name}.events"
    placed = [await writer.place([Outgoing(events, b"%d" % n) for n in part], receipts) for part in ((1, 2), (3,))]
    assert placed == told
    assert [[place.topic for place in part] for part in placed] == [[events, events], [events]]
    assert await read(settings, events, 3) == [b"1", b"2", b"3"]
    assert (await read(settings, mesh_name, 4))[2:] == [b"receipt", b"receipt"]


async def test_a_record_that_kafka_refuses_leaves_nothing_for_the_next_owner(
    settings: KafkaSettings, writer: FencedWriter, mesh_name: str
) -> None:
    """Too large for its topic, or of a topic that is not there: refused, and neither events nor receipts are committed."""
    events = f"{mesh_name}.events"

    def fence(token: str, producer: str) -> Outgoing:
        return Outgoing(mesh_name, b"fence", partition=0)

    def receipts(places: Sequence[Position]) -> list[Outgoing]:
        return [Outgoing(mesh_name, b"receipt of %d" % len(places), partition=0)]

    noise = random.Random(1).randbytes(4 * LIMIT)  # noqa: S311 - what no compression makes small
    with pytest.raises(RecordsRefused) as caught:
        await writer.place([Outgoing(events, noise)], receipts)
    assert isinstance(caught.value.by_index[0], TooLarge)
    await writer.take_over(fence)
    with pytest.raises(RecordsRefused) as caught:
        await writer.place([Outgoing(events, b"lost"), Outgoing(f"{mesh_name}.nowhere", b"x")], receipts)
    assert isinstance(caught.value.by_index[1], NotFound)
    await writer.take_over(fence)
    await writer.place([Outgoing(events, b"kept")], receipts)
    assert await read(settings, events, 1) == [b"kept"]
    assert (await read(settings, mesh_name, 7))[6:] == [b"receipt of 1"]


async def test_who_was_deposed_places_nothing(settings: KafkaSettings, writer: FencedWriter, mesh_name: str) -> None:
    """Another has taken over the partition of receipts: the events of the old owner are never seen."""
    events = f"{mesh_name}.events"
    new = FencedWriter(settings, mesh_name, 0, f"{mesh_name}-new")
    await new.take_over(lambda token, producer: Outgoing(mesh_name, b"fence", partition=0))
    with pytest.raises(CommitFailed):
        await writer.place([Outgoing(events, b"old")], lambda places: [Outgoing(mesh_name, b"old", partition=0)])
    await new.place([Outgoing(events, b"new")], lambda places: [Outgoing(mesh_name, b"new", partition=0)])
    await new.close()
    assert await read(settings, events, 1) == [b"new"]
