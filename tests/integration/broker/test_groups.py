# SPDX-License-Identifier: Apache-2.0
"""Groups and their dead letters over HTTP, on a mesh whose members may ask any broker."""

import asyncio
import json
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from nerv.client import Client
from nerv.client.subscriptions import Delivered, Verdict
from nerv.dev.mesh import LocalMesh
from nerv.errors import Conflict, Invalid, NervError, NotFound
from nerv.kafka import KafkaSettings, Outgoing, Producer
from nerv.kafka.admin import Admin
from nerv.redis import RedisSettings, connect
from nerv.topics import Topic
from nerv.types import Event, new_event_id

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECONDS = 60.0


def deposit(account: str, amount: int) -> Event[bytes]:
    """A deposit."""
    data = json.dumps({"account": account, "amount": amount}).encode()
    return Event(new_event_id(), "test", "account.deposited.v1", datetime(2013, 1, 15, tzinfo=UTC), data)


async def group(client: Client, topic: str, **changes: Any) -> str:
    """A new group that hears what is published from now on."""
    name = f"g-{uuid.uuid4().hex[:8]}"
    await client.subscriptions.make(name, {"topic": topic, "from": "latest", "first_retry_seconds": 0.05} | changes)
    return name


async def take(
    client: Client, name: str, count: int, judge: Callable[[Delivered], Verdict] = lambda one: Verdict(one.token)
) -> list[Delivered]:
    """The next so many deliveries, each answered as `judge` says."""
    found: list[Delivered] = []
    async with asyncio.timeout(SECONDS):
        while len(found) < count:
            part = await client.subscriptions.fetch(name, "m", 100, wait=5)
            found += part
            if part:
                await client.subscriptions.conclude(name, [judge(one) for one in part])
    return found


async def until(client: Client, name: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """How the group stands, once it is as wanted."""
    async with asyncio.timeout(SECONDS):
        while not wanted(shown := await client.subscriptions.show(name)):  # noqa: ASYNC110 - other processes do it
            await asyncio.sleep(0.1)
    return shown


def numbers(found: Sequence[Delivered], account: str | None = None) -> list[int]:
    """The amounts, of one account or of all."""
    data = [json.loads(one.event.data) for one in found]
    return [one["amount"] for one in data if account in (None, one["account"])]


async def test_members_share_the_events_and_each_key_comes_in_order(client: Client, prefix: str) -> None:
    """Each event goes to one of three members that work side by side, and the lag is 0 in the end."""
    topic = f"{prefix}.account.v1"
    name = await group(client, topic)
    seen: dict[str, list[int]] = defaultdict(list)
    enough = asyncio.Event()

    async def handle(event: Event[bytes]) -> None:
        data = json.loads(event.data)
        seen[data["account"]].append(data["amount"])
        if sum(map(len, seen.values())) >= 300:
            enough.set()

    await client.topics.publish(topic, [deposit(f"share-{n % 10}", n) for n in range(300)])
    members = [asyncio.create_task(client.subscriptions.work(name, handle, member=f"m{n}")) for n in range(3)]
    await asyncio.wait_for(enough.wait(), SECONDS)
    wanted = {"m0", "m1", "m2"}  # the last one may come when all is done
    await until(client, name, lambda s: s["lag"] == 0 and {one["member"] for one in s["members"]} == wanted)
    for member in members:
        member.cancel()
    await asyncio.gather(*members, return_exceptions=True)
    assert dict(seen) == {f"share-{k}": list(range(k, 300, 10)) for k in range(10)}
    assert name in [one["name"] for one in await client.subscriptions.list()]


async def test_a_group_is_made_once(client: Client, prefix: str) -> None:
    """A repeat changes nothing, another of the same name is refused, nonsense is named."""
    topic = f"{prefix}.account.v1"
    name = await group(client, topic)
    await client.subscriptions.make(name, {"topic": topic, "from": "latest", "first_retry_seconds": 0.05})
    with pytest.raises(Conflict, match="reaction"):
        await client.subscriptions.make("record", {"topic": topic})
    with pytest.raises(Conflict, match="strategy"):
        await client.subscriptions.make(name, {"topic": topic, "first_retry_seconds": 0.05, "strategy": "single"})
    with pytest.raises(Invalid, match="window"):
        await client.subscriptions.make("other", {"topic": topic, "window": 0})
    with pytest.raises(Invalid, match="JMESPath"):
        await client.subscriptions.make("other", {"topic": topic, "where": "a ["})
    with pytest.raises(NotFound):
        await client.subscriptions.show("nobody")


async def test_a_deleted_group_begins_anew(client: Client, prefix: str) -> None:
    """One of the same name that is made later knows nothing of it."""
    topic = f"{prefix}.account.v1"
    name = await group(client, topic)
    await client.topics.publish(topic, [deposit("del", 1)])
    [held] = await client.subscriptions.fetch(name, "m", 1)
    await client.subscriptions.delete(name)
    with pytest.raises(NotFound):
        await client.subscriptions.fetch(name, "m", 1, wait=0)
    await client.subscriptions.make(name, {"topic": topic, "from": "latest"})
    await client.topics.publish(topic, [deposit("del", 2)])
    assert numbers(await take(client, name, 1)) == [2]
    assert await client.subscriptions.conclude(name, [Verdict(held.token)]) == [held.token]


async def test_a_key_that_fails_stops_alone_and_goes_on_when_it_is_released(client: Client, prefix: str) -> None:
    """After the last attempt it is parked with those behind it; others go on; released, all come in order, then new ones."""
    topic = f"{prefix}.account.v1"
    name = await group(client, topic, max_attempts=2)
    await client.topics.publish(topic, [deposit(account, n) for n in range(5) for account in ("bad", "good")])

    def judge(one: Delivered) -> Verdict:
        bad = json.loads(one.event.data)["account"] == "bad"
        return Verdict(one.token, "retry", 0.0, "it is bad") if bad else Verdict(one.token)

    found = await take(client, name, 7, judge)
    assert (numbers(found, "good"), numbers(found, "bad")) == (list(range(5)), [0, 0])
    await until(client, name, lambda s: (s["lag"], s["parked_keys"], s["dead_letters"]) == (0, 1, 5))
    parked = await client.deadletters.parked(name)
    assert (parked["parked"][0]["key"], parked["parked"][0]["letters"]) == ("bad", 5)
    await client.topics.publish(topic, [deposit("bad", 5)])
    await until(client, name, lambda shown: shown["dead_letters"] == 6)

    page = await client.deadletters.list(subscription=name, limit=4)
    rest = await client.deadletters.list(subscription=name, limit=10, before=page["next"])
    letters = [*page["letters"], *rest["letters"]]
    assert len({one["id"] for one in letters}) == 6
    assert [one["cause"] for one in letters if not one["held"]] == ["it is bad"]
    assert {one["attempt"] for one in letters if not one["held"]} == {2}

    assert await client.deadletters.replay(name, key="bad") == 6
    again = await take(client, name, 6)
    assert (numbers(again), {one.replayed for one in again}) == (list(range(6)), {True})
    await until(client, name, lambda shown: shown["dead_letters"] == 0)
    await client.topics.publish(topic, [deposit("bad", 6)])
    [after] = await take(client, name, 1)
    assert (numbers([after]), after.replayed) == ([6], False)
    states = {one["state"] for one in (await client.deadletters.list(subscription=name))["letters"]}
    assert states == {"settled"}


async def test_what_no_client_of_ours_wrote_is_edited_and_replayed(
    client: Client, kafka: str, mesh: LocalMesh, prefix: str
) -> None:
    """A bare record with bad headers goes to the dead letters as it was; edited, it comes to this group alone."""
    topic = f"{prefix}.account.v1"
    name = await group(client, topic)
    bare = [
        Outgoing(topic, b'{"account": "bare", "amount": 1}', b"bare"),
        Outgoing(topic, b"\xff\x00", b"odd", [("ce_id", b"x"), ("ce_type", b"t"), ("other", b"\xfe")]),
    ]
    async with Producer(KafkaSettings(bootstrap_servers=kafka), "bare") as producer:
        await producer.publish_all(bare)
    [good] = await take(client, name, 1)
    assert (good.event.type, json.loads(good.event.data)["account"]) == ("kafka.record", "bare")
    await until(client, name, lambda shown: shown["dead_letters"] == 1)
    [row] = (await client.deadletters.list(subscription=name))["letters"]
    for nowhere in ("0:99999", f"{row['id']}7", "99:0"):
        with pytest.raises(NotFound):
            await client.deadletters.show(name, nowhere)
    letter = await client.deadletters.show(name, row["id"])
    assert (letter["base64"], letter["key"]) == ("/wA=", "odd")
    assert ["other", "\\xfe"] in letter["headers"]
    assert "ce_source" in letter["cause"]
    change = {
        "data": {"account": "odd", "amount": 2},
        "headers": {"ce_source": "people", "content-type": "application/json"},
    }
    edition = await client.deadletters.edit(name, row["id"], change)
    with pytest.raises(Conflict):
        await client.deadletters.edit(name, row["id"], change)
    with pytest.raises(NotFound, match="edition"):
        await client.deadletters.replay(name, letters=[row["id"]])
    assert await client.deadletters.replay(name, letters=[edition], rate=100) == 1
    [again] = await take(client, name, 1)
    assert (again.event.source, numbers([again]), again.replayed) == ("people", [2], True)
    await until(client, name, lambda shown: shown["dead_letters"] == 0)
    events = [event.type async for event in client.streams.read(f"subscription-{name}")]
    assert [kind.split(".")[2] for kind in events if "moved" not in kind and "taken" not in kind] == [
        "created",
        "parked",
        "edited",
        "replayed",
        "resolved",
    ]


async def test_skipped_and_discarded_events_do_not_come_again(client: Client, prefix: str) -> None:
    """Both are decisions that the stream keeps, and the key goes on."""
    topic = f"{prefix}.account.v1"
    name = await group(client, topic)
    await client.topics.publish(topic, [deposit("skip", n) for n in range(3)])
    verbs = iter(["skip", "park", "never"])
    await take(client, name, 2, lambda one: Verdict(one.token, next(verbs)))
    await until(client, name, lambda shown: (shown["dead_letters"], shown["skipped"]) == (2, 1))
    assert await client.deadletters.discard(name, all=True, why="a test") == 2
    await client.topics.publish(topic, [deposit("skip", 3)])
    assert numbers(await take(client, name, 1)) == [3]


async def test_only_what_is_wanted_comes(client: Client, prefix: str) -> None:
    """By the fields of the data; the others are passed over, and no lag."""
    topic = f"{prefix}.account.v1"
    name = await group(client, topic, where="amount > `5`", types=["account.*"])
    await client.topics.publish(topic, [deposit("where", n) for n in range(10)])
    assert numbers(await take(client, name, 4)) == [6, 7, 8, 9]
    await until(client, name, lambda shown: shown["lag"] == 0)


async def test_markers_of_transactions_are_no_lag(client: Client, prefix: str) -> None:
    """A topic that is written in transactions ends with offsets that hold no record."""
    name = await group(client, f"{prefix}.notice.v1")
    await client.topics.publish(f"{prefix}.account.v1", [deposit("rich", 5000)])
    assert numbers(await take(client, name, 1)) == [5000]
    await until(client, name, lambda shown: shown["lag"] == 0)


async def test_server_sent_events_keep_to_the_limit_and_give_back_what_is_not_answered(
    client: Client, prefix: str
) -> None:
    """A member gets no more than it can hold; when its connection ends others get that at once, as no new attempt."""
    topic = f"{prefix}.account.v1"
    name = await group(client, topic, max_attempts=1)
    await client.topics.publish(topic, [deposit(f"sse-{n}", n) for n in range(10)])
    held: list[Delivered] = []
    async with asyncio.timeout(SECONDS):
        stream = client.subscriptions.events(name, "reader", 4)
        async for one in stream:
            held.append(one)
            if len(held) == 4:
                await client.subscriptions.conclude(name, [Verdict(held[0].token)])
            if len(held) == 5:
                break
        shown = await client.subscriptions.show(name)
        assert sum(row["in_hand"] for row in shown["partitions"]) == 4
        await stream.aclose()  # type: ignore[attr-defined]  # an async generator
    assert len(await take(client, name, 9)) == 9
    shown = await until(client, name, lambda shown: shown["lag"] == 0)
    assert shown["dead_letters"] == 0


async def test_a_wiped_redis_loses_nothing(client: Client, mesh: LocalMesh, redis_url: str, prefix: str) -> None:
    """What was not acknowledged comes again, parked keys stay parked."""
    topic = f"{prefix}.account.v1"
    name = await group(client, topic)
    await client.topics.publish(topic, [deposit(f"wipe-{n % 5}", n) for n in range(50)])
    first: list[int] = []
    while 0 not in first:

        def judge(one: Delivered) -> Verdict:
            return Verdict(one.token, "ack" if numbers([one])[0] else "park")

        first += numbers(await take(client, name, 1, judge))
    await until(client, name, lambda shown: shown["parked_keys"] == 1)
    redis = connect(RedisSettings(url=redis_url), "test")
    keys = [key async for key in redis.scan_iter(f"{mesh.mesh}:{{group:{name}:*")]
    await redis.unlink(*keys)
    await redis.aclose()
    seen: set[int] = set()
    async with asyncio.timeout(SECONDS):
        while not {n for n in range(50) if n % 5} <= seen | set(first):
            seen.update(numbers(await take(client, name, 1)))
    await until(client, name, lambda shown: (shown["lag"], shown["dead_letters"]) == (0, 10))
    assert not set(range(0, 50, 5)) & seen


async def test_a_topic_that_is_made_anew_is_not_taken_for_the_old_one(client: Client, kafka: str, prefix: str) -> None:
    """Its offsets begin again, so that a group of the old one would pass over what comes: it waits, and says why."""
    topic = f"{prefix}.passing.v1"
    settings = KafkaSettings(bootstrap_servers=kafka)
    Admin(settings, "test").create([Topic(topic, 1)])
    Admin(settings, "test").wait_for([topic], SECONDS)
    name = await group(client, topic, **{"from": "earliest"})
    async with Producer(settings, "test") as producer:
        await producer.publish_all([Outgoing(topic, b"old")])
    assert [one.event.data for one in await take(client, name, 1)] == [b"old"]
    deleting = AdminClient(settings.client("test"))
    deleting.delete_topics([topic])[topic].result()
    async with asyncio.timeout(SECONDS):
        while not await asyncio.to_thread(remade, settings, topic):  # noqa: ASYNC110 - Kafka tells nobody
            await asyncio.sleep(0.2)
    async with Producer(settings, "test") as producer:
        await producer.publish_all([Outgoing(topic, b"new")])
    await until(client, name, lambda shown: "made anew" in str(shown["fault"]))


async def test_partitions_that_come_later_belong_to_the_group(client: Client, kafka: str, prefix: str) -> None:
    """They are listed with their lag, and what is written to them comes, from their first record on."""
    topic, settings = f"{prefix}.growing.v1", KafkaSettings(bootstrap_servers=kafka)
    Admin(settings, "test").create([Topic(topic, 1)])
    Admin(settings, "test").wait_for([topic], SECONDS)
    name = await group(client, topic)
    admin = AdminClient(settings.client("test"))
    admin.create_partitions([NewPartitions(topic, 3)])[topic].result()
    async with Producer(settings, "test") as producer:
        await producer.publish_all([Outgoing(topic, b"%d" % p, b"k%d" % p, (), p) for p in range(3)])
    found = await take(client, name, 3)
    assert sorted((one.partition, one.event.data) for one in found) == [(p, b"%d" % p) for p in range(3)]
    shown = await until(client, name, lambda shown: shown["lag"] == 0 and len(shown["partitions"]) == 3)
    assert [row["position"] for row in shown["partitions"]] == [1, 1, 1]


def remade(settings: KafkaSettings, topic: str) -> bool:
    """Whether the topic, which is being deleted, could be made again."""
    try:
        return bool(Admin(settings, "test").create([Topic(topic, 1)]))
    except NervError:
        return False
