# SPDX-License-Identifier: Apache-2.0
"""Any replica takes any request: what another one owns is forwarded to the address in that owner's fence record."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from nerv.client.transport import Answer, Transport
from nerv.errors import Internal, Overloaded, Unavailable, UnknownOutcome
from nerv.kafka.owning import Owners, Ownership
from nerv.service.routes import Request
from nerv.types import Description

FORWARDED = "nerv-forwarded"  # a request that was forwarded once is not forwarded again
SETTLE_SECONDS = 3.0  # a partition that moves is settled by then, unless its owner died
FIRST_PAUSE = 0.02  # s, doubled with each attempt
LONGEST_PAUSE = 0.3

T = TypeVar("T")


def passed_on(request: Request[Any], *more: str) -> dict[str, str]:
    """The headers that go with a request to the owner of a partition."""
    names = ("authorization", "accept", FORWARDED, *more)
    return {name: value for name in names if (value := request.header(name)) is not None}


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
