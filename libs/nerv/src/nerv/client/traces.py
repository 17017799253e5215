# SPDX-License-Identifier: Apache-2.0
"""The recent traces of the mesh, by the broker."""

from typing import Any
from urllib.parse import quote

from nerv.client.transport import Transport


class Traces:
    """Calls the *broker*, which reads the spans that all services keep in Redis."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def recent(self, *, slow: bool = False, errors: bool = False, limit: int = 20) -> list[dict[str, Any]]:
        """Traces that are kept, the latest first, or with `slow` those that took the longest; with `errors` only failed ones.

        Each is `{trace, begun, milliseconds, name, service, spans, errors, services}`.
        """
        query = {"order": "slow" if slow else None, "errors": "true" if errors else None, "limit": limit}
        answer = await self._transport.request("broker", "GET", "/v1/traces", query=query)
        rows: list[dict[str, Any]] = answer.json()["traces"]
        return rows

    async def show(self, trace: str) -> list[dict[str, Any]]:
        """The spans of a trace by when they began: `{trace, span, parent, name, kind, service, instance, begun, microseconds,
        error, attributes}`, with `of` where a span is linked to this trace and was made in another.

        Raises NotFound for one that is not kept, and Invalid for what is no id.
        """
        answer = await self._transport.request("broker", "GET", f"/v1/traces/{quote(trace, safe='')}")
        spans: list[dict[str, Any]] = answer.json()["spans"]
        return spans
