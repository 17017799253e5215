# SPDX-License-Identifier: Apache-2.0
"""Any replica takes any request: what another one owns is forwarded to the address in that owner's fence record."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from nerv.client.transport import Answer, Transport
from nerv.errors import Internal, NervError, Overloaded, Unavailable, UnknownOutcome
from nerv.kafka.owning import Owners, Ownership
from nerv.service.routes import Request
from nerv.types import Description

FORWARDED = "nerv-forwarded"  # a request that was forwarded once is not forwarded again
SETTLE_SECONDS = 3.0  # a partition that moves is settled by then, unless its owner died
FIRST_PAUSE = 0.02  # s, doubled with each attempt
LONGEST_PAUSE = 0.3

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - an item
A = TypeVar("A")


def passed_on(request: Request[Any], *more: str) -> dict[str, str]:
    """The headers that go with a request to the owner of a partition."""
    names = ("authorization", "accept", FORWARDED, *more)
    return {name: value for name in names if (value := request.header(name)) is not None}


class _Patience:
    """How long a request waits for a partition that moves: from when it `began` (of `time.monotonic`)."""

    def __init__(self, began: float, headers: Mapping[str, str]) -> None:
        self._deadline = began + (0.0 if FORWARDED in headers else SETTLE_SECONDS)
        self._pause = FIRST_PAUSE

    async def again(self) -> bool:
        """Wait a moment, each time a longer one; False when there is no time for it."""
        if time.monotonic() + self._pause >= self._deadline:
            return False
        await asyncio.sleep(self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        return True


def _moves(outcome: object) -> bool:
    return isinstance(outcome, Unavailable) and not isinstance(outcome, Overloaded)


class Forwarder:
    """Asks the owner of a partition, wherever it is. Use as `async with`.

    `address(partition)` is that of the last fence which this replica has read, or empty.
    """

    def __init__(self, ownership: Ownership, owners: Owners[Any], address: Callable[[int], str]) -> None:
        self._ownership = ownership
        self._owners = owners
        self._address = address
        self._transports: dict[str, Transport] = {}
        self._forwarded = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for transport in self._transports.values():
            await transport.close()

    def describe(self) -> Description:
        """The forwarder as data: the owners that it has asked, and how often it has forwarded."""
        topic, addresses = self._ownership.topic, tuple(sorted(self._transports))
        return Description(type(self).__name__, topic, outputs=addresses, counters={"forwarded": self._forwarded})

    async def settled(self, headers: Mapping[str, str], attempt: Callable[[], Awaitable[T]]) -> T:
        """What `attempt` answers, put again while it is Unavailable: a partition that moves turns nobody away.

        An attempt looks for the owner each time, so that it finds the new one. What was forwarded is tried once: the
        partition may have moved to the very replica that asks. Raises what the attempt raises, and Unavailable when the
        partition has not settled in time.
        """
        began = time.monotonic()
        patience: _Patience | None = None
        while True:
            try:
                return await attempt()
            except Unavailable as error:
                patience = patience or _Patience(began, headers)
                if isinstance(error, Overloaded) or not await patience.again():
                    raise

    def spread(
        self,
        items: Sequence[I],
        partition_of: Callable[[I], int],
        ask: Callable[[int, Sequence[I]], Awaitable[Sequence[A | NervError]]],
        headers: Mapping[str, str],
    ) -> Awaitable[list[A | NervError]]:
        """What `ask(partition, items)` answers of each item, in order. Partitions are asked side by side, each until it is
        settled; the items of one are asked again all or none, so that they keep their order.
        """
        if len(items) == 1:
            return self._asked(partition_of(items[0]), items, ask, headers)
        return self._side_by_side(items, partition_of, ask, headers)

    async def _side_by_side(
        self,
        items: Sequence[I],
        partition_of: Callable[[I], int],
        ask: Callable[[int, Sequence[I]], Awaitable[Sequence[A | NervError]]],
        headers: Mapping[str, str],
    ) -> list[A | NervError]:
        groups: dict[int, list[int]] = defaultdict(list)
        for index, item in enumerate(items):
            groups[partition_of(item)].append(index)
        answers = await asyncio.gather(
            *(self._asked(p, [items[i] for i in indexes], ask, headers) for p, indexes in groups.items())
        )
        outcomes: dict[int, A | NervError] = {}
        for indexes, answer in zip(groups.values(), answers, strict=True):
            outcomes.update(zip(indexes, answer, strict=True))
        return [outcomes[i] for i in range(len(items))]

    async def _asked(
        self,
        partition: int,
        items: Sequence[I],
        ask: Callable[[int, Sequence[I]], Awaitable[Sequence[A | NervError]]],
        headers: Mapping[str, str],
    ) -> list[A | NervError]:
        began = time.monotonic()
        patience: _Patience | None = None
        while True:
            try:
                outcomes = list(await ask(partition, items))
            except NervError as error:
                outcomes = [error] * len(items)
            if not all(map(_moves, outcomes)):
                return outcomes
            patience = patience or _Patience(began, headers)
            if not await patience.again():
                return outcomes

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
        address = self._owner(partition)
        self._forwarded += 1
        service = self._ownership.service
        transport = self._transports.get(address)
        if transport is None:
            transport = self._transports[address] = Transport({service: address})
            await transport.open()
        try:
            return await transport.attempt(
                service,
                method,
                path,
                query,
                body,
                dict(headers) | {FORWARDED: "1"},
                self._ownership.answer_seconds + 1.0,
            )
        except Internal as error:
            # It may have failed after it had written.
            kind = Unavailable if method == "GET" else UnknownOutcome
            raise kind(f"the owner of partition {partition} failed: {error}", retry_after=1.0) from error

    def _owner(self, partition: int) -> str:
        address = self._address(partition)
        if not address or address == self._ownership.address or self._owners.taking_over(partition):
            raise Unavailable(f"partition {partition} has no owner at this moment", retry_after=0.3)
        return address
