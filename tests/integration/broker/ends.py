# SPDX-License-Identifier: Apache-2.0
"""Where a topic ends, once nothing of it is in a transaction: marks come a moment after what they end is acknowledged."""

import asyncio

from nerv.kafka import KafkaSettings
from nerv.kafka.survey import Survey


async def settled_ends(kafka: str, topic: str, partitions: int = 4) -> dict[int, int]:
    """The offset after the last record of each partition, marks of transactions among them."""
    survey = Survey(KafkaSettings(bootstrap_servers=kafka), "test-ends")
    places = [(topic, partition) for partition in range(partitions)]
    async with asyncio.timeout(60):
        while (ends := await survey.ends(places, written=True)) != await survey.ends(places):  # noqa: ASYNC110 - Kafka tells nobody
            await asyncio.sleep(0.01)
    return {partition: end for (_, partition), end in ends.items()}
