# SPDX-License-Identifier: Apache-2.0
"""Compacted topics of a real Kafka as sides of a sync."""

import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from nerv.errors import Invalid, Misconfigured, VersionConflict
from nerv.kafka import KafkaSettings, Outgoing, Producer
from nerv.kafka.admin import Admin
from nerv.protocols.side import Action, Side, Written
from nerv.sync.canonical import canonical
from nerv.sync.errors import LoadRefused
from nerv.sync.sides.topic import TopicSide
from nerv.testing.contracts.side import Make, Thing, WritableSideContract, loaded, rows, step, value_of
from nerv.topics import Topic


@pytest.fixture(scope="module")
def settings(kafka: str) -> KafkaSettings:
    """Of the session's Kafka."""
    return KafkaSettings(bootstrap_servers=kafka)


async def filled(settings: KafkaSettings, values: Mapping[str, int], policy: str = "compact") -> str:
    """The name of a new topic with these things."""
    name = f"things.{uuid.uuid4().hex[:8]}"
    Admin(settings, name).create([Topic(name, 3, config={"cleanup.policy": policy})])
    await produce(settings, name, {row["key"]: canonical(row) for row in rows(values)})
    return name


async def produce(settings: KafkaSettings, topic: str, values: Mapping[str, bytes | None]) -> None:
    """Records from another program."""
    async with Producer(settings, f"other-{topic}") as producer:
        await producer.publish_all([Outgoing(topic, value, key.encode()) for key, value in values.items()])


def side_of(settings: KafkaSettings, topic: str, *, exclusive: bool = True) -> TopicSide:
    """A side over a topic."""
    return TopicSide(settings, topic, ["key"], row=Thing, exclusive=exclusive)


class TestTopicSide(WritableSideContract):
    """A topic that this side alone writes."""

    @pytest_asyncio.fixture
    async def make(self, settings: KafkaSettings) -> AsyncIterator[Make]:
        """A topic of its own."""
        async with AsyncExitStack() as stack:

            async def made(values: Mapping[str, int]) -> Side:
                return await stack.enter_async_context(side_of(settings, await filled(settings, values)))

            yield made


async def test_what_others_produce_is_told_also_after_a_restart(settings: KafkaSettings) -> None:
    """New values, tombstones and keys, by a position that an earlier process has kept; of another topic nothing is told."""
    topic = await filled(settings, {"a": 1, "b": 2, "c": 3})
    async with side_of(settings, topic, exclusive=False) as side:
        start = await side.changes(None)
        assert start is not None
    changed = {row["key"]: canonical(row) for row in rows({"a": 10, "d": 4})}
    await produce(settings, topic, {**changed, "b": None})
    async with side_of(settings, topic, exclusive=False) as side:
        told = await side.changes(start.position)
        assert told is not None
        assert sorted(told.keys) == ["a", "b", "d"]
        found, mark = await loaded(side)
        assert {key: value_of(entity) for key, entity in found.items()} == {"a": 10, "c": 3, "d": 4}
        assert mark is not None
        assert mark.rows == 3
        assert isinstance((await side.write([step(Action.DELETE, found["a"], None)]))[0], Invalid)
    async with side_of(settings, await filled(settings, {"a": 1})) as other:
        assert await other.changes(told.position) is None


async def test_of_two_writers_one_is_fenced_and_nothing_is_overwritten(settings: KafkaSettings) -> None:
    """Both write by turns what both have seen: the later one is refused, or does not know; what stands is the first one's."""
    topic = await filled(settings, {"a": 1})
    async with side_of(settings, topic) as one, side_of(settings, topic) as other:
        [seen], [also] = await one.fetch(["a"]), await other.fetch(["a"])
        assert isinstance((await one.write([step(Action.UPDATE, seen, 2)]))[0], Written)
        assert isinstance((await other.write([step(Action.UPDATE, also, 3)]))[0], VersionConflict)
        [now] = await other.fetch(["a"])
        assert value_of(now) == 2
        assert isinstance((await other.write([step(Action.UPDATE, now, 4)]))[0], Written)
        [later] = await one.fetch(["a"])
        fenced = await one.write([step(Action.UPDATE, later, 5)])
        assert not isinstance(fenced[0], Written)
        assert value_of((await other.fetch(["a"]))[0]) == 4


@pytest.mark.parametrize("value", [b"no json", b"[1]", b'{"key": "b"}', b'{"key": "a", "value": "x", "weight": 1}'])
async def test_a_record_that_is_no_row_refuses_the_load_until_it_is_replaced(
    settings: KafkaSettings, value: bytes
) -> None:
    """Its place is told; the next good record of the key mends it."""
    topic = await filled(settings, {"a": 1, "c": 2})
    await produce(settings, topic, {"a": value})
    async with side_of(settings, topic) as side:
        with pytest.raises(LoadRefused, match=topic):
            await loaded(side)
        await produce(settings, topic, {"a": canonical(rows({"a": 7})[0])})
        found, _ = await loaded(side)
        assert value_of(found["a"]) == 7


async def test_a_topic_that_forgets_by_age_is_refused(settings: KafkaSettings) -> None:
    """It holds no state; what to set is said."""
    with pytest.raises(Misconfigured, match="compact"):
        async with side_of(settings, await filled(settings, {"a": 1}, policy="delete")):
            pass
