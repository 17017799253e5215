# SPDX-License-Identifier: Apache-2.0
"""States of streams as *temporal* folds them, in the words of `nerv.protocols.Versioned`."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from nerv.client.streams import Streams
from nerv.protocols import ReadQuery
from nerv.types import Description, EntityId, Event, VersionedState, VersionId


class States:
    """The states of one category's streams, folded by a projection of the app that the mesh hosts; JSON values.

    The same question to a `nerv.projections.StateProjector` in this process has the same answer. It holds nothing.
    """

    def __init__(self, streams: Streams, projection: str, category: str) -> None:
        self._streams, self._projection, self._category = streams, projection, category
        self._asked = 0

    async def state(
        self,
        key: str,
        *,
        version: int | None = None,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
    ) -> VersionedState[Any]:
        """The state of a key (see `Versioned.state`). The service does not tell the times of the last event: they are None."""
        self._asked += 1
        stream = self._stream(key)
        found = await self._streams.state(
            stream, projection=self._projection, version=version, as_of=as_of, known_at=known_at
        )
        return VersionedState(EntityId(stream), VersionId(found["version"]), found["state"])

    async def events(self, key: str, *, after: int = 0, to: int | None = None) -> AsyncIterator[Event[bytes]]:
        """The events of a key's stream, in order of version (see `Versioned.events`)."""
        async for event in self._streams.read(self._stream(key), ReadQuery(after + 1, to)):
            yield event

    def describe(self) -> Description:
        """The states as data."""
        return Description("States", self._projection, inputs=(f"{self._category}-*",), counters={"asked": self._asked})

    def _stream(self, key: str) -> str:
        return f"{self._category}-{key}"
