# SPDX-License-Identifier: Apache-2.0
"""Reactions: every event's effects happen once, whatever dies; what cannot be reacted to goes to the dead letters."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.errors import NotFound
from nerv.kafka import BatchConsumer, KafkaSettings, Outgoing, Producer, Received
from nerv.types import Event, new_event_id

pytestmark = pytest.mark.asyncio(loop_scope="module")


def deposit(account: str, amount: int) -> Event[bytes]:
    """A deposit."""
    data = json.dumps({"account": account, "amount": amount}).encode()
    return Event(new_event_id(), "test", "account.deposited.v1", datetime(2013, 1, 15, tzinfo=UTC), data)


async def amounts(client: Client, stream: str) -> list[int]:
    """The amounts of a stream, in order."""
    try:
        return [json.loads(e.data)["amount"] async for e in client.streams.read(stream)]
    except NotFound:
        return []


async def until(client: Client, stream: str, count: int) -> list[int]:
    """The amounts of a stream once there are so many."""
    async with asyncio.timeout(40):
        while len(found := await amounts(client, stream)) < count:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.05)
    return found


async def read(kafka: str, topic: str, wanted: Callable[[Received], bool], count: int) -> list[Received]:
    """Records of a topic that are wanted, once there are so many."""
    found: list[Received] = []
    settings = KafkaSettings(bootstrap_servers=kafka)
    assign = {(topic, p): 0 for p in range(4)}
    async with BatchConsumer(settings, "test", "test", assign=assign, reset="earliest") as consumer:
        async with asyncio.timeout(20):
            async for batch in consumer.batches():
                found += [record for record in batch if wanted(record)]
                if len(found) >= count:
                    break
    return found


async def test_effects_keep_order_and_carry_their_cause(client: Client, prefix: str) -> None:
    """What is published for a key arrives in its stream in that order, with time and causation of its event."""
    events = [deposit("order", n) for n in range(200)]
    await client.topics.publish(f"{prefix}.account.v1", events)
    assert await until(client, "account-order", 200) == list(range(200))
    recorded = [e async for e in client.streams.read("account-order")]
    assert [e.causation_id for e in recorded] == [e.id for e in events]
    assert {e.time for e in recorded} == {datetime(2013, 1, 15, tzinfo=UTC)}
    assert {e.source for e in recorded} == {"nerv:ledger/record"}


async def test_a_killed_broker_repeats_no_effect(client: Client, mesh: LocalMesh, kafka: str, prefix: str) -> None:
    """The broker is killed again and again while it reacts: each append and each publish is there once."""
    topic = f"{prefix}.account.v1"
    for number in range(3):
        await client.topics.publish(topic, [deposit(f"kill{n % 5}", 1000 + n) for n in range(300)])
        await mesh.kill("broker")
        await mesh.restart("broker")
        assert number < 3
    for account in range(5):
        found = await until(client, f"account-kill{account}", 180)
        assert Counter(found) == {1000 + n: 3 for n in range(300) if n % 5 == account}
    notices = await read(kafka, f"{prefix}.notice.v1", lambda r: b"kill" in (r.value() or b""), 900)
    assert len(notices) == 900
    assert len({dict(r.headers() or [])["ce_id"] for r in notices}) == 900


async def test_poison_goes_to_the_dead_letters_and_the_partition_goes_on(
    client: Client, mesh: LocalMesh, kafka: str, prefix: str
) -> None:
    """Rubbish from a bare client, a schema that does not fit, and a reaction that raises: each a dead letter with its
    cause, origin and original bytes; the events of other keys are reacted to.
    """
    topic = f"{prefix}.account.v1"
    headers = [("ce_specversion", b"1.0"), ("ce_id", b"x1"), ("ce_source", b"s"), ("ce_type", b"account.deposited.v1")]
    bad = [
        Outgoing(topic, b"\xff\xfe", b"poison-0", [("ce_id", b"x0")]),
        Outgoing(topic, b'{"account": "poison"}', b"poison-1", headers),
        Outgoing(topic, b'{"account": "poison", "amount": -13}', b"poison-2", headers),
    ]
    async with Producer(KafkaSettings(bootstrap_servers=kafka), "test") as producer:
        await producer.publish(bad)
    await client.topics.publish(topic, [deposit("poison", 7)])
    assert await until(client, "account-poison", 1) == [7]
    letters = await read(kafka, f"{mesh.mesh}.deadletters.v1", lambda r: b"poison" in (r.key() or b""), 3)
    letters.sort(key=lambda letter: letter.key() or b"")
    assert [letter.value() for letter in letters] == [record.value for record in bad]
    causes = [dict(letter.headers() or [])["nerv_deadletter_cause"].decode() for letter in letters]
    assert "ce_source" in causes[0]
    assert "/amount" in causes[1]
    assert "minus thirteen" in causes[2]
    origins = [dict(letter.headers() or [])["nerv_deadletter_origin"].decode() for letter in letters]
    assert all(origin.startswith(f"{topic}/") for origin in origins)


async def test_it_waits_for_temporal_and_goes_on(client: Client, mesh: LocalMesh, prefix: str) -> None:
    """While temporal is down nothing is lost and nothing goes to the dead letters; when it is back, all is appended."""
    await mesh.kill("temporal")
    await client.topics.publish(f"{prefix}.account.v1", [deposit("patient", n) for n in range(20)])
    await mesh.restart("temporal")
    assert await until(client, "account-patient", 20) == list(range(20))
