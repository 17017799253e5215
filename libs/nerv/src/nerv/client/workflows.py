# SPDX-License-Identifier: Apache-2.0
"""The workflows of the mesh, over HTTP."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import orjson

from nerv.client.transport import DEADLINE_SECONDS, Transport
from nerv.errors import Unavailable
from nerv.types import new_event_id
from nerv.workflows.cause import Cause

POLL_SECONDS = 20  # one long poll; the service allows 30
ENDED = frozenset({"completed", "failed", "cancelled"})


class Workflows:
    """Calls *scheduler*."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def start(
        self,
        workflow: str,
        input: Mapping[str, Any] | None = None,  # noqa: A002 - the API's word
        *,
        run: str | None = None,
        version: int | None = None,
        cause: Cause | None = None,
    ) -> dict[str, Any]:
        """Start a run: `{run, workflow, status, duplicate}`. `run` is its id; the same id and input start nothing new.

        Without a version it is started of the workflow's highest. `cause` is the event that it is started because of: `nerv why`
        goes through it.

        Raises NotFound, Invalid, TooLarge, IdConflict when the id was used for another run, Unavailable, UnknownOutcome.
        """
        # The id is chosen here, so that a repeated request does not start a second run.
        document: dict[str, Any] = {"input": dict(input or {}), "run": run or new_event_id()}
        document |= {} if version is None else {"version": version}
        document |= {} if cause is None else {"cause": cause}
        return await self._post(f"/v1/workflows/{quote(workflow, safe='')}/runs", orjson.dumps(document))

    async def latest(self, limit: int = 20) -> list[dict[str, Any]]:
        """The latest runs of all workflows, newest first: `{run, workflow, status, started, ended, elapsed_seconds, error}`."""
        answer = await self._transport.request("scheduler", "GET", "/v1/runs", query={"limit": limit})
        runs: list[dict[str, Any]] = answer.json()["runs"]
        return runs

    async def show(self, run: str) -> dict[str, Any]:
        """A run: `{run, workflow, status, started, ended, elapsed_seconds, error, result, stored?, critical_path, maps, nodes}`.

        Raises NotFound. A result that is in the app's store has its address and size as `stored`. `maps` says how far each has
        come: `{step, items, done, running, failed}`.

        `status` is running, paused, cancelling, completed, failed or cancelled. `nodes` are in order of drawing: `{node,
        task, status, after, attempt, worker, queued_seconds, ran_seconds, started,
        ended, error, result?}`, with a status of waiting, ready, held, limited, running, retrying, sleeping,
        completed, skipped, failed or cancelled.
        """
        return await self._show(run, 0, DEADLINE_SECONDS)

    async def cancel(self, run: str, *, reason: str = "", order: str | None = None) -> dict[str, Any]:
        """Begin no further task of a run, stop those that are running, and end it: `{run, order, id, status}`.

        The order is recorded when this returns. Effects of tasks that have a result are performed all the same. `order` is its
        id. Raises NotFound, Conflict when the run has ended, IdConflict when the id was used for another order, Unavailable,
        UnknownOutcome (repeat it under the same id).
        """
        return await self._order(run, "cancel", order, reason=reason)

    async def pause(self, run: str, *, reason: str = "", order: str | None = None) -> dict[str, Any]:
        """Begin no further task of a run until it is resumed; those that are running may end. Else as `cancel`."""
        return await self._order(run, "pause", order, reason=reason)

    async def resume(self, run: str, *, reason: str = "", order: str | None = None) -> dict[str, Any]:
        """Go on with a paused run. Else as `cancel`."""
        return await self._order(run, "resume", order, reason=reason)

    async def restart(
        self, run: str, steps: Sequence[str] = (), *, reason: str = "", order: str | None = None
    ) -> dict[str, Any]:
        """Go on with an ended run: `steps`, those that failed, and all that need them are run again, others keep their results.

        A step is a node or a whole map. What a step did that had completed, it does once more. Raises Conflict when the run goes
        on, NotFound for a step that it does not have. Else as `cancel`.
        """
        return await self._order(run, "restart", order, reason=reason, steps=list(steps))

    async def signal(self, run: str, name: str, payload: Any = True, *, signal: str | None = None) -> dict[str, Any]:
        """Tell a run what it waits for, or will: `{run, signal, id, status}`. `payload` is JSON and not None; `signal` is its id.

        It is recorded when this returns. Raises NotFound for the run, or when nothing of it waits for such a signal; Conflict
        when it has ended; IdConflict when the id was used for another signal; Unavailable, UnknownOutcome (repeat it under
        the same id).
        """
        # The id is chosen here, so that a repeated request is the same signal.
        body = orjson.dumps({"signal": name, "payload": payload, "id": signal or new_event_id()})
        return await self._post(f"/v1/runs/{quote(run, safe='')}/signals", body)

    async def wait(self, run: str, seconds: float = 300.0, *, nodes: bool = True) -> dict[str, Any]:
        """A run as `show` gives it, once it has ended, well or not. Raises Unavailable when it still runs after `seconds`.

        Without `nodes` it is the run itself, without `critical_path`, `maps` and `nodes`: of thousands of tasks these take long
        to fetch.
        """
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            document = await self._show(
                run, max(0, min(POLL_SECONDS, math.ceil(left))), DEADLINE_SECONDS + POLL_SECONDS, brief=not nodes
            )
            if document["status"] in ENDED:
                return document
            if time.monotonic() >= deadline:
                raise Unavailable(f"run {run} still runs after {seconds:g} s; wait again, or see what its nodes do")

    async def replay(self, run: str) -> dict[str, Any]:
        """All that a run decided, decided once more from its history by today's code; no task is run. Raises NotFound.

        `{run, workflow, version, same, decisions, differences, changed_code}`: a difference is `{where, what, recorded, today}`;
        `changed_code` names functions that are not what they were when the run was started (`:workflow` draws it).
        """
        path = f"/v1/runs/{quote(run, safe='')}/replay"
        answer = await self._transport.request("scheduler", "GET", path)
        document: dict[str, Any] = answer.json()
        return document

    async def list(self) -> Sequence[dict[str, Any]]:
        """The workflows of the app: `{workflow, version, versions, description}`."""
        answer = await self._transport.request("scheduler", "GET", "/v1/workflows")
        rows: Sequence[dict[str, Any]] = answer.json()["workflows"]
        return rows

    async def runs(self, workflow: str, *, limit: int = 20) -> Sequence[dict[str, Any]]:
        """The latest runs of a workflow, newest first: `{run, workflow, status, started, ended, error}`. Raises NotFound."""
        path = f"/v1/workflows/{quote(workflow, safe='')}/runs"
        answer = await self._transport.request("scheduler", "GET", path, query={"limit": limit})
        rows: Sequence[dict[str, Any]] = answer.json()["runs"]
        return rows

    async def _order(self, run: str, kind: str, order: str | None, **says: Any) -> dict[str, Any]:
        # The id is chosen here, so that a repeated request is the same order.
        body = orjson.dumps({"order": kind, "id": order or new_event_id(), **says})
        return await self._post(f"/v1/runs/{quote(run, safe='')}/orders", body)

    async def _post(self, path: str, body: bytes) -> dict[str, Any]:
        headers = {"content-type": "application/json"}
        answer = await self._transport.request("scheduler", "POST", path, body=body, headers=headers)
        document: dict[str, Any] = answer.json()
        return document

    async def _show(self, run: str, wait: int, seconds: float, *, brief: bool = False) -> dict[str, Any]:
        path = f"/v1/runs/{quote(run, safe='')}"
        query = {"wait": wait or None, "brief": "true" if brief else None}
        answer = await self._transport.request("scheduler", "GET", path, query=query, seconds=seconds)
        document: dict[str, Any] = answer.json()
        return document
