# SPDX-License-Identifier: Apache-2.0
"""Any replica takes any append: each goes to the owner of its stream's partition."""

from collections.abc import Mapping, Sequence

from nerv.api.history.v1 import history_pb2
from nerv.client.streams import PROTOBUF, append_message, outcome_of
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

        async def ask(partition: int, part: Sequence[AppendRequest]) -> Sequence[AppendOutcome]:
            owner = self.owner(partition)
            if owner is not None:
                return await owner.append(part)
            body = history_pb2.AppendBatch(requests=[append_message(r) for r in part]).SerializeToString()
            sent = {**headers, "content-type": PROTOBUF}
            answer = await self.forward(partition, "POST", "/v1/streams", {}, sent, body)
            return [outcome_of(one) for one in history_pb2.AppendBatchReply.FromString(answer.body).replies]

        return await self.spread(requests, lambda one: self.partition(one.stream), ask, headers)
