# SPDX-License-Identifier: Apache-2.0
"""Appends over Kafka: what is malformed, what is answered once, and what happens when the owner dies with commands in hand."""

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from nerv.api.history.v1 import history_pb2
from nerv.client import Client, Commands
from nerv.client.streams import append_message
from nerv.dev.mesh import LocalMesh
from nerv.errors import Invalid, SchemaMismatch
from nerv.kafka import BatchConsumer, KafkaSettings, Outgoing, Position, Producer, Received, partition_of
from nerv.kafka.deadletters import CAUSE, ORIGIN
from nerv.protocols import Appended, AppendRequest, Expected
from nerv.protocols.history import Expect
from nerv.types import Event, new_event_id
from tests.integration.temporal.ledger import ledger_mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)
PARTITIONS = 4


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(kafka: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMesh]:
    """Two replicas of temporal."""
    async with ledger_mesh(tmp_path_factory.mktemp("commands"), kafka, redis_url, replicas=2) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def commands(mesh: LocalMesh, client: Client, kafka: str) -> AsyncIterator[Commands]:
    """Appends over Kafka."""
    async with client.commands(KafkaSettings(bootstrap_servers=kafka), mesh.mesh) as commands:
        yield commands


def deposit(data: bytes | None = None) -> Event[bytes]:
    """A deposit with an id of its own."""
    body = json.dumps({"account": "a", "amount": 5}).encode() if data is None else data
    return Event(new_event_id(), "test", "account.deposited.v1", NOON, body)


def fresh() -> str:
    """A stream nobody has written to."""
    return f"account-{uuid.uuid4().hex}"


async def take(kafka: str, topic: str, starts: dict[int, int], count: int) -> list[Received]:
    """So many records of a topic."""
    found: list[Received] = []
    assign = {(topic, p): o for p, o in starts.items()}
    settings = KafkaSettings(bootstrap_servers=kafka)
    async with BatchConsumer(settings, "test", f"test-{uuid.uuid4().hex}", assign=assign, eager=True) as consumer:
        async with asyncio.timeout(30):
            async for batch in consumer.batches():
                found += batch
                if len(found) >= count:
                    return found
    raise AssertionError("unreachable")


@pytest.mark.parametrize(
    ("request_", "kind", "words"),
    [
        (AppendRequest("account-1", [deposit(b'{"account":"a"}')]), SchemaMismatch, "amount"),
        (AppendRequest("", [deposit()]), Invalid, "stream"),
        (AppendRequest("a\r\nb", [deposit()]), Invalid, "control"),
        (AppendRequest("account-1", []), Invalid, "empty"),
        (AppendRequest("account-1", [deposit()], Expected(Expect.EXACT, 2**64 - 1)), Invalid, "2\\^63"),
    ],
    ids=["schema", "no-stream", "control", "empty", "huge-version"],
)
async def test_a_malformed_request_is_refused_in_its_reply(
    commands: Commands, request_: AppendRequest, kind: type[Exception], words: str
) -> None:
    """The same refusals as over HTTP, told to the sender."""
    [outcome] = await commands.append([request_])
    with pytest.raises(kind, match=words):
        raise outcome if isinstance(outcome, Exception) else AssertionError(outcome)


async def test_poison_goes_to_the_dead_letters_and_the_partition_goes_on(
    mesh: LocalMesh, commands: Commands, kafka: str
) -> None:
    """Bytes that are no command: the original, its origin and the cause are in the dead letters; the next is answered."""
    stream = fresh()
    partition = partition_of(stream, PARTITIONS)
    topic = f"{mesh.mesh}.commands.v1"
    async with Producer(KafkaSettings(bootstrap_servers=kafka), "test") as producer:
        [position] = await producer.publish([Outgoing(topic, b"\xff no command", stream.encode(), (), partition)])
    assert isinstance(position, Position)
    [outcome] = await commands.append([AppendRequest(stream, [deposit()])])
    assert isinstance(outcome, Appended)
    [letter] = await take(kafka, f"{mesh.mesh}.deadletters.v1", dict.fromkeys(range(PARTITIONS), 0), 1)
    headers = dict(letter.headers() or ())
    assert letter.value() == b"\xff no command"
    assert headers[ORIGIN] == f"{topic}/{partition}/{position.offset}".encode()
    assert b"AppendCommand" in headers[CAUSE]


async def test_a_command_in_a_wrong_partition_is_refused(mesh: LocalMesh, client: Client, kafka: str) -> None:
    """Its stream has another owner: the reply says where it belongs, and nothing is written."""
    stream = fresh()
    wrong = (partition_of(stream, PARTITIONS) + 1) % PARTITIONS
    topic, replies = (f"{mesh.mesh}.{name}.v1" for name in ("commands", "replies"))
    settings = KafkaSettings(bootstrap_servers=kafka)
    async with BatchConsumer(settings, "test", "test-ends") as looking:
        _, end = await looking.bounds((replies, wrong))
    command = history_pb2.AppendCommand(id="1", sender="t", request=append_message(AppendRequest(stream, [deposit()])))
    async with Producer(settings, "test") as producer:
        await producer.publish([Outgoing(topic, command.SerializeToString(), stream.encode(), (), wrong)])
    [record] = await take(kafka, replies, {wrong: end}, 1)
    reply = history_pb2.AppendCommandReply.FromString(record.value() or b"")
    assert (reply.command_id, reply.sender, reply.reply.refused.status) == ("1", "t", 400)
    assert "partition" in reply.reply.refused.detail
    assert stream not in {e.stream async for e in client.streams.read_category("account")}


async def test_each_command_is_answered_once_though_owners_die(
    mesh: LocalMesh, commands: Commands, client: Client, kafka: str
) -> None:
    """Both replicas are killed in turn with commands in hand: every one is done, at one version, with one reply."""
    replies = f"{mesh.mesh}.replies.v1"
    settings = KafkaSettings(bootstrap_servers=kafka)
    async with BatchConsumer(settings, "test", "test-ends") as looking:
        ends = {p: (await looking.bounds((replies, p)))[1] for p in range(PARTITIONS)}
    streams = [fresh() for _ in range(8)]
    sent = 0
    stop = asyncio.Event()

    async def send(stream: str) -> list[str]:
        nonlocal sent
        ids = []
        while not stop.is_set():
            requests = [AppendRequest(stream, [deposit()]) for _ in range(10)]
            outcomes = await commands.append(requests, seconds=40.0)
            assert all(isinstance(o, Appended) for o in outcomes), outcomes
            ids += [r.events[0].id for r in requests]
            sent += len(requests)
        return ids

    async def reached(count: int) -> None:
        async with asyncio.timeout(60):
            while sent < count:  # noqa: ASYNC110 - the senders are plain loops
                await asyncio.sleep(0.02)

    senders = [asyncio.create_task(send(stream)) for stream in streams]
    for name in ("temporal", "temporal-2"):
        await reached(sent + 400)
        await mesh.kill(name)
        await mesh.restart(name)
    await reached(sent + 400)
    stop.set()
    written = await asyncio.gather(*senders)
    for stream, ids in zip(streams, written, strict=True):
        assert [e.id async for e in client.streams.read(stream)] == ids
    records = await take(kafka, replies, ends, sent)
    answered = Counter(history_pb2.AppendCommandReply.FromString(r.value() or b"").command_id for r in records)
    assert len(answered) == sent
    assert set(answered.values()) == {1}
