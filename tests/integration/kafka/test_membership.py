# SPDX-License-Identifier: Apache-2.0
"""Coming and going of members of a group that owns partitions."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from confluent_kafka import TopicPartition

from nerv.kafka import BatchConsumer, KafkaSettings, Membership
from nerv.kafka.admin import Admin, GroupState
from nerv.topics import Topic

SECONDS = 60.0
PARTITIONS = 4


@pytest.fixture
def settings(kafka: str, mesh_name: str) -> KafkaSettings:
    """With a topic of four partitions that is named like the mesh."""
    found = KafkaSettings(bootstrap_servers=kafka)
    Admin(found, mesh_name).create([Topic(mesh_name, PARTITIONS)])
    return found


class Member:
    """What one member was told."""

    def __init__(self) -> None:
        self.has: set[int] = set()
        self.changes: list[set[int]] = []

    async def gained(self, partitions: set[int]) -> None:
        """Told by the group."""
        self.has |= partitions
        self.changes.append(partitions)

    async def lost(self, partitions: set[int]) -> None:
        """Told by the group."""
        self.has -= partitions

    @asynccontextmanager
    async def joined(self, settings: KafkaSettings, name: str, topic: str) -> AsyncIterator[Membership]:
        """In the group until the block ends."""
        async with Membership(
            settings, name, f"{topic}.g", topic, PARTITIONS, gained=self.gained, lost=self.lost
        ) as membership:
            yield membership


async def until(condition: Callable[[], object]) -> None:
    """Wait for it."""
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - the members' threads tell nobody
            await asyncio.sleep(0.005)


async def test_a_member_that_leaves_without_a_share_is_gone_at_once(settings: KafkaSettings, mesh_name: str) -> None:
    """The second member leaves when the first has let go of its share, and before it has it: the group knows at once."""
    first, second = Member(), Member()
    admin = Admin(settings, mesh_name)
    async with first.joined(settings, "first", mesh_name):
        await until(lambda: len(first.has) == PARTITIONS)
        async with second.joined(settings, "second", mesh_name) as membership:
            await until(lambda: second.changes)
            assert not membership.settled or second.has
        assert (await asyncio.to_thread(admin.group, f"{mesh_name}.g")).members == ("first",)
        await until(lambda: len(first.has) == PARTITIONS)


async def test_a_consumer_that_leaves_without_a_share_is_gone_at_once(settings: KafkaSettings, mesh_name: str) -> None:
    """The same for consumers that read: of five on four partitions one has none, and the group knows when it leaves."""
    admin, group = Admin(settings, mesh_name), f"{mesh_name}.readers"

    def at_rest() -> bool:
        found = admin.group(group)
        return found.stable and len(found.assigned) == PARTITIONS and len(found.members) == PARTITIONS + 1

    async with asyncio.timeout(SECONDS):
        consumers = [
            BatchConsumer(settings, f"reader-{n}", group, topics=[mesh_name], reset="latest") for n in range(5)
        ]
        for consumer in consumers:
            await consumer.__aenter__()
        while not await asyncio.to_thread(at_rest):  # noqa: ASYNC110 - Kafka tells nobody
            await asyncio.sleep(0.05)
        for consumer in consumers:
            await consumer.__aexit__(None, None, None)
            left = (await asyncio.to_thread(admin.group, group)).members
            assert consumer.name not in left


async def test_a_member_has_settled_once_it_has_its_share_or_there_is_none_for_it(
    settings: KafkaSettings, mesh_name: str
) -> None:
    """Members join one after the other, each when the last has settled: of five on four partitions the fifth settles too."""
    members = [Member() for _ in range(PARTITIONS + 1)]
    memberships = []
    for number, member in enumerate(members):
        context = member.joined(settings, f"m{number}", mesh_name)
        memberships.append(context)
        joined = await context.__aenter__()
        await until(lambda joined=joined: joined.settled)  # type: ignore[misc]
        assert member.has or number == PARTITIONS
    await until(lambda: sum(len(member.has) for member in members) == PARTITIONS)
    for context in memberships:
        await context.__aexit__(None, None, None)


async def test_a_share_that_is_on_its_way_is_waited_for(
    settings: KafkaSettings, mesh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second member asks whether there is a share for it until the group is at rest and has given it one, of which it was not
    told yet.
    """
    ask, asked = Admin.group, threading.Event()

    def slowly(admin: Admin, name: str, timeout: float = SECONDS) -> GroupState:
        deadline = time.monotonic() + SECONDS
        while not (found := ask(admin, name)).stable or len(found.assigned) < PARTITIONS or found.idle:
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        asked.set()
        return found

    count = Membership._count_change
    early: list[tuple[str, int, bool]] = []

    def noting(membership: Membership, change: str, partitions: list[TopicPartition]) -> None:
        if membership.name == "second":
            early.append((change, len(partitions), membership.settled))
        count(membership, change, partitions)

    first, second = Member(), Member()
    async with first.joined(settings, "first", mesh_name) as one:
        await until(lambda: one.settled)
        monkeypatch.setattr(Admin, "group", slowly)
        monkeypatch.setattr(Membership, "_count_change", noting)
        async with second.joined(settings, "second", mesh_name) as membership:
            await until(asked.is_set)
            await until(lambda: membership.settled)
            assert len(second.has) == PARTITIONS / 2
            assert early == [("gained", 0, False), ("gained", 2, False)]
