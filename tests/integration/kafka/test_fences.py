# SPDX-License-Identifier: Apache-2.0
"""A writer that has been shut out cannot commit anything, and says so in one way."""

import pytest

from nerv.kafka import CommitFailed, FencedWriter, KafkaSettings, Outgoing, TransactionalProducer
from nerv.kafka.admin import Admin
from nerv.topics import Topic
from tests.integration.kafka.settling import settled


@pytest.mark.parametrize("turn", [0, 1], ids=["next on a", "next on b"])
@pytest.mark.parametrize("with_reply", [False, True], ids=["alone", "with a reply"])
async def test_a_deposed_writer_fails_to_commit(kafka: str, mesh_name: str, turn: int, with_reply: bool) -> None:
    """Whichever of its producers is next, and whether or not a reply waits for the offset: CommitFailed. It leaves no thread."""
    settings = KafkaSettings(bootstrap_servers=kafka)
    Admin(settings, "test").create([Topic(mesh_name, 1)])

    def fence(token: str, producer: str) -> Outgoing:
        return Outgoing(mesh_name, producer.encode(), token.encode(), (), 0)

    record = Outgoing(mesh_name, b"x", b"x", (), 0)
    threads = await settled(0)
    old, new = (FencedWriter(settings, mesh_name, 0, name) for name in ("old", "new"))
    await old.take_over(fence)
    for _ in range(turn):
        await old.commit([record])
    await new.take_over(fence)
    with pytest.raises(CommitFailed):
        await old.commit([record], reply=(lambda offset: [record]) if with_reply else None)
    assert await new.commit([record], reply=lambda offset: [record._replace(value=str(offset).encode())]) > 0
    for writer in (old, new):
        await writer.close()
    assert await settled(threads) <= threads


async def test_a_deposed_producer_fails_to_commit(kafka: str, mesh_name: str) -> None:
    """With or without asking for places: CommitFailed. It leaves no thread, though it is still referred to."""
    settings = KafkaSettings(bootstrap_servers=kafka)
    Admin(settings, "test").create([Topic(mesh_name, 1)])
    threads = await settled(0)
    record = Outgoing(mesh_name, b"x", b"x", (), 0)
    placing, committing, new = (TransactionalProducer(settings, mesh_name, name) for name in ("a", "b", "c"))
    await placing.start()
    await placing.write([record])
    await placing.commit([], {})
    await committing.start()
    with pytest.raises(CommitFailed):
        await placing.write([record])
    await committing.commit([record], {})
    await new.start()
    with pytest.raises(CommitFailed):
        await committing.commit([record], {})
    await new.commit([record], {})
    for producer in (placing, committing, new):
        await producer.close()
    assert await settled(threads) <= threads
