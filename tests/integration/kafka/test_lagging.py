# SPDX-License-Identifier: Apache-2.0
"""How far a group is behind, from the partitions of a real topic."""

import asyncio

import pytest

from nerv.kafka import BatchConsumer, KafkaSettings, Outgoing, Producer, lagging
from nerv.kafka.admin import Admin
from nerv.topics import Topic

SECONDS = 60.0
FIRST, SECOND = 0, 1


async def test_a_partition_is_told_soon_after_it_was_first_read(
    kafka: str, mesh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits a usual round for the figures of a group that has just begun, or for those of one more partition."""
    monkeypatch.setattr(lagging, "LOOK_SECONDS", 2 * SECONDS)
    settings = KafkaSettings(bootstrap_servers=kafka)
    Admin(settings, mesh_name).create([Topic(mesh_name, 2)])
    async with Producer(settings, mesh_name) as producer:
        await producer.publish_all(
            [Outgoing(mesh_name, b"{}", b"key", partition=p) for p in (FIRST, SECOND) for _ in range(3)]
        )
    behind = lagging.Behind("m.readers")
    everything = {(mesh_name, FIRST): 0, (mesh_name, SECOND): 0}
    async with (
        asyncio.timeout(SECONDS),
        BatchConsumer(settings, mesh_name, mesh_name, assign=everything) as consumer,
    ):
        watching = asyncio.create_task(behind.watch(consumer))
        for partition in everything:
            behind.starts({partition: 1})
            while ("m.readers", *partition) not in behind.lags():  # noqa: ASYNC110 - metrics are collected, nobody is told
                await asyncio.sleep(0.01)
        assert behind.lags() == {("m.readers", *partition): 2 for partition in everything}
        assert behind.delays() == {("m.readers", *partition): 0.0 for partition in everything}
        watching.cancel()
