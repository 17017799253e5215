# SPDX-License-Identifier: Apache-2.0
"""Any replica takes any request: what another one owns is forwarded to the address in that owner's fence record."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Self, TypeVar

from nerv.api.history.v1 import history_pb2
from nerv.client.streams import PROTOBUF, append_message, outcome_of
from nerv.client.transport import Answer, Transport
from nerv.errors import Internal, NervError, Overloaded, Unavailable, UnknownOutcome
from nerv.kafka import partition_of
from nerv.protocols import AppendOutcome, AppendRequest
from nerv_temporal.owner import Owners, PartitionOwner
from nerv_temporal.settings import TemporalSettings
from nerv_temporal.tail import Tail

FORWARDED = "nerv-forwarded"  # a request that was forwarded once is not forwarded again
SETTLE_SECONDS = 3.0  # a partition that moves is settled by then, unless its owner died
FIRST_PAUSE = 0.02  # s, doubled with each attempt
LONGEST_PAUSE = 0.3

T = TypeVar("T")


class Router:
    """Finds who answers for a stream. Use as `async with`."""

    def __init__(self, settings: TemporalSettings, owners: Owners, tail: Tail) -> None:
        self._settings = settings
        self._owners = owners
        self._tail = tail
        self._transports: dict[str, Transport] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for transport in self._transports.values():
            await transport.close()

    def partition(self, stream: str) -> int:
        """The partition of a stream."""
        return partition_of(stream, self._settings.partitions)

    def owner(self, partition: int) -> PartitionOwner | None:
        """The owner, if it is this replica."""
        return self._owners.serving(partition)

    async def settled(self, headers: Mapping[str, str], attempt: Callable[[], Awaitable[T]]) -> T:
        """What `attempt` answers, put again while it is Unavailable: a partition that moves turns nobody away.

        An attempt looks for the owner each time, so that it finds the new one. What was forwarded is tried once: the
        partition may have moved to the very replica that asks. Raises what the attempt raises, and Unavailable when the
        partition has not settled in time.
        """
        deadline = time.monotonic() + (0.0 if FORWARDED in headers else SETTLE_SECONDS)
        pause = FIRST_PAUSE
        while True:
            try:
                return await attempt()
            except Overloaded:
                raise
            except Unavailable:
                if time.monotonic() + pause >= deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _address(self, partition: int) -> str:
        address = self._tail.index.partition(partition).address
        if not address or address == self._settings.http.url or self._owners.taking_over(partition):
            raise Unavailable(f"partition {partition} has no owner at this moment", retry_after=0.3)
        return address

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

    async def forward(
        self,
        partition: int,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes | None = None,
    ) -> Answer:
        """Ask the owner of a partition, once. Raises what it answers, Unavailable, or UnknownOutcome."""
        if FORWARDED in headers:
            raise Unavailable(f"partition {partition} has just moved", retry_after=0.3)
        address = self._address(partition)
        transport = self._transports.get(address)
        if transport is None:
            transport = self._transports[address] = Transport({"temporal": address})
            await transport.open()
        try:
            return await transport.attempt(
                "temporal",
                method,
                path,
                query,
                body,
                dict(headers) | {FORWARDED: "1"},
                self._settings.temporal.answer_seconds + 1.0,
            )
        except Internal as error:
            # It may have failed after it had written.
            kind = Unavailable if method == "GET" else UnknownOutcome
            raise kind(f"the owner of partition {partition} failed: {error}", retry_after=1.0) from error
