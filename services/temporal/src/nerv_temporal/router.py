# SPDX-License-Identifier: Apache-2.0
"""Any replica takes any append: each goes to the owner of its stream's partition."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence

from nerv.api.history.v1 import history_pb2
from nerv.client.streams import PROTOBUF, append_message, outcome_of
from nerv.errors import NervError, Unavailable
from nerv.kafka import partition_of
from nerv.kafka.owning import Owners
from nerv.protocols import AppendOutcome, AppendRequest
from nerv.service.forwarding import Forwarder
from nerv_temporal.owner import PartitionOwner
from nerv_temporal.settings import TemporalSettings
from nerv_temporal.tail import Tail


class Router(Forwarder):
    """Finds who answers for a stream. Use as `async with`."""

    def __init__(self, settings: TemporalSettings, owners: Owners[PartitionOwner], tail: Tail) -> None:
        super().__init__(settings.ownership, owners, lambda partition: tail.index.partition(partition).address)
        self._settings = settings
        self._serving = owners.serving

    def partition(self, stream: str) -> int:
        """The partition of a stream."""
        return partition_of(stream, self._settings.partitions)

    def owner(self, partition: int) -> PartitionOwner | None:
        """The owner, if it is this replica."""
        return self._serving(partition)

    async def append(self, requests: Sequence[AppendRequest], headers: Mapping[str, str]) -> list[AppendOutcome]:
        """Outcomes in order; partitions are asked side by side, requests of one stream stay in order."""
        if len(requests) == 1:
            return await self._append_to(self.partition(requests[0].stream), requests, headers)
        groups: dict[int, list[int]] = defaultdict(list)
        for index, request in enumerate(requests):
            groups[self.partition(request.stream)].append(index)
        answers = await asyncio.gather(
            *(self._append_to(p, [requests[i] for i in indexes], headers) for p, indexes in groups.items())
        )
        outcomes: dict[int, AppendOutcome] = {}
        for indexes, answer in zip(groups.values(), answers, strict=True):
            outcomes.update(zip(indexes, answer, strict=True))
        return [outcomes[i] for i in range(len(requests))]

    async def _append_to(
        self, partition: int, requests: Sequence[AppendRequest], headers: Mapping[str, str]
    ) -> list[AppendOutcome]:
        async def attempt() -> list[AppendOutcome]:
            owner = self.owner(partition)
            if owner is not None:
                outcomes = await owner.append(requests)
            else:
                body = history_pb2.AppendBatch(requests=[append_message(r) for r in requests]).SerializeToString()
                answer = await self.forward(
                    partition, "POST", "/v1/streams", {}, {**headers, "content-type": PROTOBUF}, body
                )
                outcomes = [outcome_of(one) for one in history_pb2.AppendBatchReply.FromString(answer.body).replies]
            refused = [one for one in outcomes if isinstance(one, Unavailable)]
            if refused and len(refused) == len(outcomes):
                raise refused[0]  # all or none is put again: the requests of one stream keep their order
            return outcomes

        try:
            return await self.settled(headers, attempt)
        except NervError as error:
            return [error] * len(requests)
