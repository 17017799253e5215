# SPDX-License-Identifier: Apache-2.0
"""A bridge between two wires: what the one brings goes over the other."""

from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from nerv.bus.crossing import Crossing
from nerv.bus.model import Selector, selects
from nerv.bus.via import carried
from nerv.errors import NervError, Retry
from nerv.protocols.wire import Arrived, Wire
from nerv.types import Description, Event, Health


class Relay:
    """Carries the events of one wire to another, in batches, in order for each key; use as `async with`.

    At least once, by the same id: a batch is done with once the other wire has it. Where that remembers places (a Redis stream),
    a repeat adds nothing. An event that has been there, or has crossed 8 bridges, is passed over; one that the other wire
    refuses for good is put aside with the cause, and the others go on.
    """

    def __init__(self, source: Wire, target: Wire, *, types: Selector | None = None, name: str = "relay") -> None:
        self.name = name
        self._source, self._target, self._types = source, target, types
        self._crossing = Crossing(name)
        self._counters: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        self._crossing.start(self._source, self._bring)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._crossing.stop()

    async def lag(self) -> int:
        """Events that wait on this side of the bridge. Raises Unavailable."""
        return await self._source.lag()

    @property
    def error(self) -> str | None:
        """What it waits for, or why it has ended."""
        return self._crossing.error

    def describe(self) -> Description:
        """The bridge as data; its parts are the two wires."""
        return Description(
            "Relay",
            self.name,
            inputs=(self._source.name,),
            outputs=(self._target.name,),
            counters=dict(self._counters),
            health=Health.DOWN if self._crossing.down else Health.DEGRADED if self.error else Health.OK,
            parts=(self._source.describe(), self._target.describe()),
        )

    async def _bring(self, batch: Sequence[Arrived]) -> None:
        leaving = [(arrived, event) for arrived in batch if (event := self._leaving(arrived)) is not None]
        try:
            await self._put(leaving)
        except NervError as error:
            if error.retry is not Retry.NEVER:
                raise
            await self._one_by_one(leaving)
        self._counters["passed over"] += len(batch) - len(leaving)

    def _leaving(self, arrived: Arrived) -> Event[bytes] | None:
        if not selects(self._types, arrived.event):
            return None
        return carried(arrived.event, self._source.name, self._target.name)

    async def _put(self, leaving: Sequence[tuple[Arrived, Event[bytes]]]) -> None:
        if not leaving:
            return
        places = [arrived.place for arrived, _ in leaving if arrived.place is not None]
        events = [event for _, event in leaving]
        await self._crossing.put(self._target, events, places if len(places) == len(events) else None)
        self._counters["carried"] += len(leaving)

    async def _one_by_one(self, leaving: Sequence[tuple[Arrived, Event[bytes]]]) -> None:
        """After a batch was refused: which of its events are to be put aside."""
        for arrived, event in leaving:
            try:
                await self._put([(arrived, event)])
            except NervError as error:
                if error.retry is not Retry.NEVER:
                    raise
                self._counters["refused"] += 1
                await self._source.refuse(arrived, str(error))
                self._crossing.error = None
