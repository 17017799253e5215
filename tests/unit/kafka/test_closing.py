# SPDX-License-Identifier: Apache-2.0
"""Whoever writes by transactions is let go whole, also when the one who closes it goes away meanwhile."""

import asyncio
import threading
import uuid
from contextlib import suppress

import pytest

from nerv.errors import Unavailable
from nerv.kafka import FencedWriter, KafkaSettings, Outgoing, TransactionalProducer, fenced, transactional

SECONDS = 30.0


@pytest.mark.parametrize("kind", ["fenced", "transactional"])
async def test_a_close_that_is_cancelled_goes_on(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for a call that Kafka does not answer; who waits for it is cancelled; its thread ends all the same."""
    monkeypatch.setattr(transactional, "INIT_SECONDS", 1.0)
    monkeypatch.setattr(fenced, "INIT_SECONDS", 1.0)
    away, name = KafkaSettings(bootstrap_servers="127.0.0.1:9"), f"t{uuid.uuid4().hex}"
    made: FencedWriter | TransactionalProducer
    waits: asyncio.Task[object]
    if kind == "fenced":
        made = writer = FencedWriter(away, name, 0, "away")
        waits = asyncio.create_task(
            writer.take_over(lambda token, name: Outgoing("t", token.encode(), name.encode(), [], 0))
        )
    else:
        made = producer = TransactionalProducer(away, name, "away")
        waits = asyncio.create_task(producer.start())
    await asyncio.sleep(0)  # it has begun
    closing = asyncio.create_task(made.close())
    await asyncio.sleep(0)
    closing.cancel()
    with suppress(asyncio.CancelledError):
        await closing
    with pytest.raises(Unavailable):
        await waits
    async with asyncio.timeout(SECONDS):
        while any(one.name.startswith(name) for one in threading.enumerate()):  # noqa: ASYNC110 - a thread tells nobody
            await asyncio.sleep(0.05)
