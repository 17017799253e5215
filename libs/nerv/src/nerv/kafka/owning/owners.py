# SPDX-License-Identifier: Apache-2.0
"""The partitions this replica should own, by the group; their owners come and go with the assignment."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import structlog

from nerv.kafka.membership import Membership
from nerv.kafka.owning.owner import Owner, Ownership
from nerv.telemetry import names as n
from nerv.telemetry import observe
from nerv.telemetry.instruments import Seen
from nerv.types import Description, Health

TAKE_OVER_SECONDS = 30.0  # one takes 1 s; waiting for the transaction of a dead owner up to 10 s

log = structlog.get_logger(__name__)
O = TypeVar("O", bound=Owner[Any])  # noqa: E741 - an owner


class Owners(Generic[O]):
    """Enters the group once `caught_up` returns, so that every take-over reads only the tail. Use as `async with`.

    When the service begins to close it leaves the group at once: others take over while requests still drain, and those
    are forwarded to them.
    """

    def __init__(
        self,
        ownership: Ownership,
        group: str,
        made: Callable[[int], O],
        caught_up: Callable[[], Awaitable[None]],
        closing: Callable[[], asyncio.Event],
    ) -> None:
        """`made` makes the owner of a partition, which begins to take over at once."""
        self._ownership = ownership
        self._group = group
        self._made = made
        self._caught_up = caught_up
        self._closing = closing
        self._leaving: asyncio.Task[None] | None = None
        self._owners: dict[int, O] = {}
        self._membership: Membership | None = None
        self._settled = False

    async def __aenter__(self) -> Self:
        await self._caught_up()
        who = self._ownership
        self._membership = Membership(
            who.kafka, who.client_id(), self._group, who.topic, who.partitions, gained=self._gained, lost=self._lost
        )
        await self._membership.__aenter__()
        self._leaving = asyncio.create_task(self._leave_when_closing())
        observe(n.PARTITIONS_SERVED, self._served)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._leaving is not None and not self._closing().is_set():
            self._leaving.cancel()
        if self._leaving is not None:
            await asyncio.wait({self._leaving})
        await self._leave()

    async def _leave_when_closing(self) -> None:
        await self._closing().wait()
        await self._leave()

    async def _leave(self) -> None:
        membership, self._membership = self._membership, None
        if membership is not None:
            await membership.__aexit__(None, None, None)
        await self._lost(set(self._owners))

    def _served(self) -> Seen:
        served = sum(owner.serving for owner in list(self._owners.values()))
        return [(served, {n.DESTINATION: self._ownership.topic})]

    def serving(self, partition: int) -> O | None:
        """The owner of a partition, if this replica has taken it over."""
        owner = self._owners.get(partition)
        return owner if owner is not None and owner.serving else None

    def taking_over(self, partition: int) -> bool:
        """Whether this replica has been given the partition, but has not proven it yet."""
        owner = self._owners.get(partition)
        return owner is not None and not owner.serving

    def owned(self) -> dict[int, O]:
        """The owners by partition."""
        return dict(self._owners)

    def fault(self) -> str | None:
        """What keeps partitions of this replica from being served, or None.

        At first until all are served; later on a partition that comes has the time that a take-over takes.
        """
        now = time.monotonic()
        if self._membership is not None and not self._membership.settled:
            return "the group has not yet given this replica its share of the partitions"
        self._settled = self._settled or all(owner.serving for owner in self._owners.values())
        if not self._settled:
            return f"taking over partitions {sorted(p for p, o in self._owners.items() if not o.serving)}"
        late = sorted(p for p, o in self._owners.items() if not o.serving and now - o.since > TAKE_OVER_SECONDS)
        return f"no take-over of partitions {late} has succeeded for {TAKE_OVER_SECONDS:g} s" if late else None

    def describe(self) -> Description:
        """The owners as data: which partitions this replica serves, and how often each was taken over."""
        topic = self._ownership.topic
        serving = sorted(partition for partition, owner in self._owners.items() if owner.serving)
        parts = [owner.describe() for _, owner in sorted(self._owners.items())]
        return Description(
            "Owners",
            topic,
            outputs=tuple(f"{topic}/{partition}" for partition in serving),
            counters={f"take_overs/{p}": owner.take_overs for p, owner in sorted(self._owners.items())},
            health=Health.OK if self.fault() is None else Health.DEGRADED,
            parts=tuple(parts if self._membership is None else [self._membership.describe(), *parts]),
        )

    async def _gained(self, partitions: AbstractSet[int]) -> None:
        if partitions:
            log.info("owners.gained", topic=self._ownership.topic, partitions=sorted(partitions))
        for partition in partitions:
            if partition not in self._owners:
                self._owners[partition] = self._made(partition)

    async def _lost(self, partitions: AbstractSet[int]) -> None:
        if partitions:
            log.info("owners.lost", topic=self._ownership.topic, partitions=sorted(partitions))
        leaving = [owner for p in partitions if (owner := self._owners.pop(p, None)) is not None]
        await asyncio.gather(*(owner.leave() for owner in leaving))
