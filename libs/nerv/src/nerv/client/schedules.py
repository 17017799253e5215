# SPDX-License-Identifier: Apache-2.0
"""The schedules of the mesh, over HTTP."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import orjson

from nerv.client.transport import Transport


class Schedules:
    """Calls *scheduler*."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def list(self) -> Sequence[dict[str, Any]]:
        """The schedules of the app.

        `{schedule, workflow, ticks, overlap, catch_up, status, next, last, became, why, run, queued}`;
        `became` says what the last tick came to: started, skipped, queued or refused, and `why`; `run` was started last.
        """
        answer = await self._transport.request("scheduler", "GET", "/v1/schedules")
        rows: Sequence[dict[str, Any]] = answer.json()["schedules"]
        return rows

    async def next(self, schedule: str, *, count: int = 5) -> Sequence[dict[str, str]]:
        """When it ticks next: `{tick, local}`, in UTC and in its own time zone. Raises NotFound."""
        path = f"/v1/schedules/{quote(schedule, safe='')}/next"
        answer = await self._transport.request("scheduler", "GET", path, query={"count": count})
        rows: Sequence[dict[str, str]] = answer.json()["next"]
        return rows

    async def pause(self, schedule: str) -> dict[str, Any]:
        """No further run is started until it is resumed: a row as `list` gives it.

        Raises NotFound, Unavailable, UnknownOutcome.
        """
        return await self._order(schedule, "pause")

    async def resume(self, schedule: str) -> dict[str, Any]:
        """It ticks from now on; what would have ticked meanwhile is passed over. Else as `pause`."""
        return await self._order(schedule, "resume")

    async def _order(self, schedule: str, kind: str) -> dict[str, Any]:
        path, headers = f"/v1/schedules/{quote(schedule, safe='')}/orders", {"content-type": "application/json"}
        body = orjson.dumps({"order": kind})
        answer = await self._transport.request("scheduler", "POST", path, body=body, headers=headers)
        document: dict[str, Any] = answer.json()
        return document
