# SPDX-License-Identifier: Apache-2.0
"""What topics hold, how fast they grow and how far groups lag behind: all from offsets, asked for when somebody wants to know."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from nerv.errors import NervError
from nerv.kafka import BatchConsumer, KafkaSettings
from nerv.kafka.survey import Survey

MINUTE = 60
SAMPLED = 100  # of the last records of a partition, whose size is taken for that of all
SAMPLED_OF_ALL = 10_000  # records of all topics together
SAMPLE_SECONDS = 3.0
GROUPS = 500  # that are asked how far they have come
AT_ONCE = 20  # of them

Partition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Spans:
    """Of each partition: the first offset, the one after the last, and the one that was written a minute ago."""

    starts: Mapping[Partition, int]
    ends: Mapping[Partition, int]
    before: Mapping[Partition, int]

    def of(self, topic: str) -> dict[str, Any]:
        """A topic as a whole. Offsets that are no records, such as the ends of transactions, count as some."""
        mine = [partition for partition in self.ends if partition[0] == topic]
        return {
            "records": sum(max(self.ends[one] - self.starts[one], 0) for one in mine),
            "per_second": round(sum(max(self.ends[one] - self.before[one], 0) for one in mine) / MINUTE, 3),
        }


class Figures:
    """Asks Kafka. Nothing is kept, so that any replica answers the same."""

    def __init__(self, kafka: KafkaSettings, client_id: str, survey: Survey) -> None:
        self._kafka, self._name, self._survey = kafka, f"{client_id}-figures", survey

    async def spans(self, topics: Mapping[str, int]) -> Spans:
        """Of topics by their numbers of partitions: three requests for all of them."""
        asked = [(topic, partition) for topic, count in topics.items() for partition in range(count)]
        ago = int((time.time() - MINUTE) * 1000)
        starts, before, ends = await asyncio.gather(
            self._survey.starts(asked), self._survey.at(ago, asked), self._survey.ends(asked)
        )
        return Spans(starts, ends, before)

    async def lags(self, spans: Spans) -> dict[str, dict[Partition, int]]:
        """How many records each group has before it, of the partitions that it reads."""
        names = (await self._survey.groups())[:GROUPS]
        gate = asyncio.Semaphore(AT_ONCE)

        async def committed(group: str) -> dict[Partition, int]:
            async with gate:
                return await self._survey.committed(group)

        found = await asyncio.gather(*map(committed, names))
        return {
            group: lag
            for group, offsets in zip(names, found, strict=True)
            if (lag := {one: max(spans.ends[one] - at, 0) for one, at in offsets.items() if one in spans.ends})
        }

    async def described(self, topic: str, partitions: int) -> dict[str, Any]:
        """One topic: where its partitions are, what they hold, how it is configured, who lags how far behind."""
        spans = await self.spans({topic: partitions})
        layout, config, lags, bytes_about = await asyncio.gather(
            self._survey.layout(topic), self._survey.config(topic), self.lags(spans), self.bytes_about(spans)
        )
        rows = [
            {
                "partition": one.partition,
                "leader": one.leader,
                "replicas": list(one.replicas),
                "in_sync": list(one.in_sync),
                "start": spans.starts[topic, one.partition],
                "end": spans.ends[topic, one.partition],
                "lag": {
                    group: lag[topic, one.partition] for group, lag in lags.items() if (topic, one.partition) in lag
                },
            }
            for one in layout
        ]
        lag = {group: sum(of.values()) for group, of in lags.items()}
        about = bytes_about.get(topic)
        return spans.of(topic) | {"bytes_about": about, "lag": lag, "config": config, "layout": rows}

    async def bytes_about(self, spans: Spans) -> dict[str, int]:
        """How many bytes the records of each topic have, before Kafka packs them, by the last ones of each partition. A topic
        without records, or whose records did not come in time, is left out.
        """
        filled = [one for one, end in spans.ends.items() if end > spans.starts[one]]
        each = max(1, min(SAMPLED, SAMPLED_OF_ALL // max(len(filled), 1)))
        assign = {one: max(spans.starts[one], spans.ends[one] - each) for one in filled}
        sizes = await self._sizes(assign, {one: spans.ends[one] for one in filled})
        return {topic: round(fmean(of) * spans.of(topic)["records"]) for topic, of in sizes.items()}

    async def _sizes(self, assign: Mapping[Partition, int], until: Mapping[Partition, int]) -> dict[str, list[int]]:
        """Of the records between the two, by topic."""
        sizes: dict[str, list[int]] = defaultdict(list)
        if not assign:
            return sizes
        try:
            async with (
                asyncio.timeout(SAMPLE_SECONDS),
                BatchConsumer(self._kafka, self._name, self._name, assign=assign, ends=True) as consumer,
            ):
                async for records in consumer.batches_to(until):
                    for record in records:
                        sizes[record.topic()].append(_size(record.key(), record.value(), record.headers() or ()))
        except (TimeoutError, NervError):
            pass  # what was seen by then tells enough
        return sizes


def _size(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> int:
    return len(key or b"") + len(value or b"") + sum(len(name) + len(data or b"") for name, data in headers)
