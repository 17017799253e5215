# SPDX-License-Identifier: Apache-2.0
"""The syncs of the mesh, over HTTP."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import orjson

import nerv.sync.errors  # noqa: F401 - an error that the service answers is told by its class, which must be known here
from nerv.client.transport import Query, Transport
from nerv.errors import NervError, UnknownOutcome
from nerv.types import new_event_id

RUN_SECONDS = 600.0  # that a caller waits for a run
ASK_SECONDS = 0.5  # between questions after one that goes on

Document = dict[str, Any]
Watch = Callable[[Document], None]
"""Is shown a run while it goes on: its `progress` has the counts of its latest sign of life."""


class Syncs:
    """Calls *sync*."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def run(
        self,
        sync: str,
        *,
        dry_run: bool = False,
        confirm_deletes: bool = False,
        plan: str | None = None,
        where: Sequence[str] = (),
        verify: bool = False,
        run: str | None = None,
        seconds: float = RUN_SECONDS,
        watch: Watch | None = None,
    ) -> Document:
        """Perform a run and wait for its end: `{run, sync, dry_run, status, plan, summary, changes, truncated, ...}`.

        `summary` counts create, update, delete and unchanged; `changes` are the first ones, `truncated` tells whether there are
        more. `status` is `planned` (dry run), `done`, `conflicts` (another writer was faster somewhere; `problems` has where) or
        `unknown`. Repeat it with the same `run` after an unknown outcome: each change is made once. With `plan` exactly that
        plan is applied, which was approved; `where` narrows the run to objects with `field=value`; `verify` reads both sides
        whole before. Raises NotFound, LoadRefused, DeletesUnconfirmed, PlanMoved, PlanUnapproved, ParentsInCycle, RunUnderWay,
        Unavailable, UnknownOutcome after `seconds`.
        """
        deadline = time.monotonic() + seconds
        run = run or new_event_id()
        options = {
            "dry_run": dry_run,
            "confirm_deletes": confirm_deletes,
            "plan": plan,
            "where": list(where),
            "verify": verify,
        }
        headers = {"content-type": "application/json", "idempotency-key": run}
        asking = None if watch is None else asyncio.create_task(self._watch(sync, run, watch))
        try:
            while True:
                document = await self._ask(
                    "POST", f"{_path(sync)}/runs", deadline - time.monotonic(), orjson.dumps(options), headers
                )
                if document["status"] != "running":
                    return document
                if time.monotonic() + ASK_SECONDS >= deadline:
                    raise UnknownOutcome(f"run {run} of {sync} goes on after {seconds:.0f} s; look again with its id")
                await asyncio.sleep(ASK_SECONDS)
        finally:
            if asking is not None:
                asking.cancel()
                await asyncio.wait({asking})

    async def show(self, sync: str, run: str) -> Document:
        """A run as it stands; its status is `running` while it is not over. Raises NotFound."""
        return await self._ask("GET", f"{_path(sync)}/runs/{quote(run, safe='')}")

    async def runs(self, sync: str) -> list[Document]:
        """The latest runs of a sync, the newest first, without their changes."""
        rows: list[Document] = (await self._ask("GET", f"{_path(sync)}/runs"))["runs"]
        return rows

    async def objects(self, sync: str, run: str, *, limit: int = 1000) -> list[Document]:
        """What became of each object of a run: `{side, key, outcome, round, attempt, when}`."""
        path = f"{_path(sync)}/runs/{quote(run, safe='')}/objects"
        rows: list[Document] = (await self._ask("GET", path, query={"limit": limit}))["objects"]
        return rows

    async def plan(self, sync: str, plan: str, *, limit: int = 500) -> Document:
        """A plan that a run has made: `{plan, direction, summary, approved, changes, truncated, losses}`. Raises NotFound."""
        return await self._ask("GET", f"{_path(sync)}/plans/{quote(plan, safe='')}", query={"limit": limit})

    async def approve(self, sync: str, plan: str) -> Document:
        """Approve a plan, so that it can be applied: `{approved: {by, when}}`. Raises NotFound."""
        return await self._ask("POST", f"{_path(sync)}/plans/{quote(plan, safe='')}/approval")

    async def conflicts(self, sync: str) -> list[Document]:
        """The conflicts that wait for a person: `{conflict, key, base, left, right, since}`."""
        rows: list[Document] = (await self._ask("GET", f"{_path(sync)}/conflicts"))["conflicts"]
        return rows

    async def conflict(self, sync: str, conflict: str) -> Document:
        """One of them. Raises NotFound."""
        return await self._ask("GET", f"{_path(sync)}/conflicts/{quote(conflict, safe='')}")

    async def decide(self, sync: str, conflict: str, choice: str, row: Document | None = None) -> Document:
        """Decide a conflict: `left`, `right`, `delete`, or `row` with the row that shall hold. The next run writes it.

        Raises NotFound for one that does not wait any more.
        """
        body = orjson.dumps({"choice": choice, "row": row})
        headers = {"content-type": "application/json"}
        path = f"{_path(sync)}/conflicts/{quote(conflict, safe='')}/decision"
        return await self._ask("POST", path, body=body, headers=headers)

    async def losses(self, sync: str) -> list[Document]:
        """Every update that was overruled: `{side, key, field, lost, kept, strategy, when}`."""
        rows: list[Document] = (await self._ask("GET", f"{_path(sync)}/losses"))["losses"]
        return rows

    async def list(self) -> list[Document]:
        """The syncs: `{sync, kind, direction, latest, ...}`."""
        rows: list[Document] = (await self._ask("GET", "/v1/syncs"))["syncs"]
        return rows

    async def _ask(
        self,
        method: str,
        path: str,
        seconds: float | None = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        query: Query | None = None,
    ) -> Document:
        more: dict[str, Any] = {} if seconds is None else {"seconds": max(seconds, 0.1)}
        answer = await self._transport.request("sync", method, path, query=query, body=body, headers=headers, **more)
        document: Document = answer.json()
        return document

    async def _watch(self, sync: str, run: str, watch: Watch) -> None:
        while True:
            await asyncio.sleep(ASK_SECONDS)
            with contextlib.suppress(
                NervError
            ):  # it is not claimed yet, or the service is away: the order itself tells
                watch(await self.show(sync, run))


def _path(sync: str) -> str:
    return f"/v1/syncs/{quote(sync, safe='')}"
