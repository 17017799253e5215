# SPDX-License-Identifier: Apache-2.0
"""The registry of schemas, by the broker."""

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from nerv.client.transport import Answer, Transport

if TYPE_CHECKING:
    from nerv.schemas import Schema  # with its validator it costs each command of the command line 50 ms


class Schemas:
    """Calls the *broker*. A version is `{subject, version, id, format, registered_time, registered_by}`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def subjects(self) -> list[dict[str, Any]]:
        """The latest version of each subject."""
        rows: list[dict[str, Any]] = (await self._get("")).json()["subjects"]
        return rows

    async def versions(self, subject: str) -> list[dict[str, Any]]:
        """All versions of a subject, the first one first. Raises NotFound."""
        rows: list[dict[str, Any]] = (await self._get(f"/{quote(subject, safe='')}")).json()["versions"]
        return rows

    async def show(self, subject: str, version: int | str = "latest") -> dict[str, Any]:
        """One version with its `schema`. Raises NotFound."""
        document: dict[str, Any] = (await self._get(f"/{quote(subject, safe='')}/{version}")).json()
        return document

    async def register(self, schema: "Schema", *, dry_run: bool = False) -> dict[str, Any]:
        """Register a schema, or with `dry_run` only see whether it could be. The same one again is the same version.

        Raises Conflict with each fault when it does not suit the versions before it.
        """
        answer = await self._transport.request(
            "broker",
            "POST",
            f"/v1/schemas/{quote(schema.subject, safe='')}",
            query={"format": schema.format.value, "dry_run": "true" if dry_run else None},
            body=schema.text.encode(),
            headers={"content-type": "application/json"},
        )
        document: dict[str, Any] = answer.json()
        return document

    async def _get(self, rest: str) -> Answer:
        return await self._transport.request("broker", "GET", f"/v1/schemas{rest}")
