# SPDX-License-Identifier: Apache-2.0
"""The syncs of the mesh, over HTTP."""

import asyncio
import time
from typing import Any
from urllib.parse import quote

import orjson

import nerv.sync.errors  # noqa: F401 - an error that the service answers is told by its class, which must be known here
from nerv.client.transport import Transport
from nerv.errors import UnknownOutcome
from nerv.types import new_event_id

RUN_SECONDS = 600.0  # that a caller waits for a run
ASK_SECONDS = 0.5  # between questions after one that goes on


class Syncs:
    """Calls *sync*."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def run(
        self,
        source: str,
        *,
        dry_run: bool = False,
        confirm_deletes: bool = False,
        run: str | None = None,
        seconds: float = RUN_SECONDS,
    ) -> dict[str, Any]:
        """Perform a run and wait for its end: `{run, source, dry_run, status, summary, changes, truncated, ...}`.

        `summary` counts create, update, delete and unchanged; `changes` are the first ones, `truncated` tells whether there are
        more. `status` is `planned` (dry run), `done`, `conflicts` (another writer was faster somewhere; `problems` has where) or
        `unknown`. Repeat it with the same `run` after an unknown outcome: each change is made once.
        Raises NotFound, LoadRefused, DeletesUnconfirmed, RunUnderWay, Unavailable, UnknownOutcome after `seconds`.
        """
        deadline = time.monotonic() + seconds
        run = run or new_event_id()
        body = orjson.dumps({"dry_run": dry_run, "confirm_deletes": confirm_deletes})
        headers = {"content-type": "application/json", "idempotency-key": run}
        while True:
            answer = await self._transport.request(
                "sync",
                "POST",
                _path(source),
                body=body,
                headers=headers,
                seconds=max(deadline - time.monotonic(), 0.1),
            )
            document: dict[str, Any] = answer.json()
            if document["status"] != "running":
                return document
            if time.monotonic() + ASK_SECONDS >= deadline:
                raise UnknownOutcome(f"run {run} of {source} goes on after {seconds:.0f} s; look again with its id")
            await asyncio.sleep(ASK_SECONDS)

    async def show(self, source: str, run: str) -> dict[str, Any]:
        """A run as it stands; its status is `running` while it is not over. Raises NotFound."""
        answer = await self._transport.request("sync", "GET", f"{_path(source)}/{quote(run, safe='')}")
        document: dict[str, Any] = answer.json()
        return document

    async def runs(self, source: str) -> list[dict[str, Any]]:
        """The latest runs of a source, the newest first, without their changes."""
        answer = await self._transport.request("sync", "GET", _path(source))
        rows: list[dict[str, Any]] = answer.json()["runs"]
        return rows

    async def list(self) -> list[dict[str, Any]]:
        """The sources: `{source, category, key, kind, latest, ...}`."""
        answer = await self._transport.request("sync", "GET", "/v1/syncs")
        rows: list[dict[str, Any]] = answer.json()["syncs"]
        return rows


def _path(source: str) -> str:
    return f"/v1/syncs/{quote(source, safe='')}/runs"
