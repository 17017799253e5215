# SPDX-License-Identifier: Apache-2.0
"""Reading to an end."""

import asyncio

from nerv.kafka import BatchConsumer, KafkaSettings, Outgoing, TransactionalProducer
from nerv.kafka.admin import Admin
from nerv.topics import Topic

SECONDS = 60.0


async def test_an_end_that_was_passed_before_it_was_asked_for_is_known(kafka: str, mesh_name: str) -> None:
    """A marker of a transaction ends a partition, and is read while the other one is waited for: who then asks for it has it."""
    settings = KafkaSettings(bootstrap_servers=kafka)
    Admin(settings, mesh_name).create([Topic(mesh_name, 2)])
    first, second = (mesh_name, 0), (mesh_name, 1)
    writer = TransactionalProducer(settings, f"{mesh_name}.writer", mesh_name, destination=mesh_name)
    await writer.start()

    async def write(partition: int) -> None:
        await writer.write([Outgoing(mesh_name, b"{}", b"key", partition=partition)])
        await writer.commit([], {})

    await write(0)
    async with (
        asyncio.timeout(SECONDS),
        BatchConsumer(settings, mesh_name, mesh_name, assign={first: 0, second: 0}, ends=True) as consumer,
    ):

        async def read(until: dict[tuple[str, int], int]) -> int:
            return sum([len(batch) async for batch in consumer.batches_to(until)])

        async with asyncio.TaskGroup() as group:
            both = group.create_task(read({first: 1, second: 1}))
            while consumer.ended.get(first, 0) < 2:  # noqa: ASYNC110 - the consumer's thread tells nobody
                await asyncio.sleep(0.005)
            await write(1)
        assert both.result() == 2
        assert await read({first: 2, second: 2}) == 0
    await writer.close()
