# SPDX-License-Identifier: Apache-2.0
"""What operators do with projections, over HTTP: rebuild beside what is live, compare, switch, go back, pause."""

from datetime import datetime
from typing import Any
from urllib.parse import quote

from nerv.client.transport import Query, Transport
from nerv.errors import Conflict
from nerv.types import format_instant

Document = dict[str, Any]

_WORDS = {"building": "being built", "previous": "kept to go back to"}


class Projections:
    """Calls *projector*. Each step answers what stands then: `{live, building, previous, paused, skipped, versions, ...}`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def get(self, projection: str) -> Document:
        """What stands for a projection; `versions` says how far each is: `{version, ready, percent, seconds_left, ...}`.

        `now` says how far the live one is behind, as a row of `views.projections` does; None while it starts.
        """
        return await self._call("GET", projection, "")

    async def parity(self, projection: str) -> Document:
        """What differs between the live version and the other: keys only in one, and the fields that differ.

        Raises Conflict where there is one version only.
        """
        return await self._call("GET", projection, "/parity")

    async def rebuild(self, projection: str, *, since: datetime | None = None, version: int | None = None) -> Document:
        """Begin another version beside the live one, of history, or of what was recorded from an instant on."""
        number = version or (await self.get(projection))["last"] + 1
        instant = None if since is None else format_instant(since)
        return await self._call("POST", projection, "/rebuild", {"version": number, "since": instant})

    async def switch(self, projection: str, *, version: int | None = None) -> Document:
        """Make the version that was built the live one. Raises Conflict before it has caught up."""
        return await self._step(projection, "switch", "building", version)

    async def cancel(self, projection: str, *, version: int | None = None) -> Document:
        """Give up what is being built."""
        return await self._step(projection, "cancel", "building", version)

    async def rollback(self, projection: str, *, version: int | None = None) -> Document:
        """Go back to the version that was live before."""
        return await self._step(projection, "rollback", "previous", version)

    async def release(self, projection: str, *, version: int | None = None) -> Document:
        """Delete the version that is kept to go back to."""
        return await self._step(projection, "release", "previous", version)

    async def pause(self, projection: str) -> Document:
        """Fold nothing until it is resumed; reads go on."""
        return await self._call("POST", projection, "/pause")

    async def resume(self, projection: str) -> Document:
        """Fold on."""
        return await self._call("POST", projection, "/resume")

    async def skip(self, projection: str, event: str) -> Document:
        """Have no fold take an event, from now on; a key that is parked at it is folded on, without it."""
        return await self._call("POST", projection, "/skip", {"event": event})

    async def parked(self, projection: str, *, limit: int | None = None) -> Document:
        """The keys that are parked: `{all, subscription, parked: [{key, partition, event, type, position, cause, ...}]}`.

        Their dead letters are those of `subscription`: `deadletters.replay` has a key folded on, `discard` without the event.
        """
        return await self._call("GET", projection, "/parked", {"limit": limit})

    async def rates(self, *, top: int | None = None) -> Document:
        """What comes now: `{seconds, types: [{type, events, per_second, counts}], keys: [{key, events, per_second}], ...}`.

        `counts` are those of each of the last whole seconds; `keys` the `top` ones that came most.
        """
        return await self._read("/v1/rates", {"top": top})

    async def owners(self) -> Document:
        """Who works on which partitions: `{partitions: [{partition, owner, since}], moves: [{at, partition, before, after}]}`."""
        return await self._read("/v1/owners", {})

    async def _read(self, path: str, query: Query) -> Document:
        document: Document = (await self._transport.request("projector", "GET", path, query=query)).json()
        return document

    async def _step(self, projection: str, step: str, of: str, version: int | None) -> Document:
        """A step with the version that stands as `of`: it is named, so that a request that got no answer may be repeated."""
        number = version or (await self.get(projection))[of]
        if number is None:
            raise Conflict(f"{projection} has no version for this step ({step}): there is none {_WORDS[of]}")
        return await self._call("POST", projection, f"/{step}", {"version": number})

    async def _call(self, method: str, projection: str, step: str, query: Query | None = None) -> Document:
        path = f"/v1/projections/{quote(projection, safe='')}{step}"
        document: Document = (await self._transport.request("projector", method, path, query=query or {})).json()
        return document
