# SPDX-License-Identifier: Apache-2.0
"""Perform what a batch asks for, outside the transaction that ends it: appends, runs, calls. Repeats change nothing."""

import asyncio
import random
import zlib
from collections.abc import Sequence

import aiohttp
import orjson
import structlog

from nerv.client import Client
from nerv.effects import Http, Run
from nerv.errors import Forbidden, NervError, Refused, Retry, Unavailable
from nerv.protocols import Appended
from nerv_broker.model import describe
from nerv_broker.reactions.planning import AskedAppend, AskedCall, Letter, Plan
from nerv_broker.settings import EdgeSettings

log = structlog.get_logger(__name__)

FIRST_PAUSE = 0.2  # s
LONGEST_PAUSE = 5.0
CALL_SECONDS = 30.0
CALLS_AT_ONCE = 8


class Performer:
    """Performs plans. What is refused becomes a dead letter; what is unknown or not now is repeated until it is known.

    `waiting` says what a partition is waiting for, while it is.
    """

    def __init__(self, client: Client, settings: EdgeSettings) -> None:
        self._client = client
        self._settings = settings
        self.waiting: str | None = None

    async def perform(self, plan: Plan) -> None:
        """All appends and calls of a plan. Returns only when each is done or refused; cancel it to give up."""
        lanes: list[list[AskedAppend]] = [[] for _ in range(self._settings.append_lanes)]
        for one in plan.appends:
            lanes[zlib.crc32(one.request.stream.encode()) % len(lanes)].append(one)
        async with asyncio.TaskGroup() as group:
            for lane in lanes:
                if lane:
                    group.create_task(self._append(lane, plan))
        gate = asyncio.Semaphore(CALLS_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for call in plan.calls:
                group.create_task(self._call(call, plan, gate))

    async def _append(self, lane: Sequence[AskedAppend], plan: Plan) -> None:
        """The appends of one lane, in order. Those without a verdict are repeated before any later ones go on."""
        pause = FIRST_PAUSE
        left = list(lane)
        while left:
            outcomes = await self._outcomes(left)
            again = []
            for one, outcome in zip(left, outcomes, strict=True):
                if isinstance(outcome, Appended):
                    continue
                if outcome.retry is Retry.NEVER:
                    plan.letters.append(Letter(one.record, describe(outcome), one.asked.reaction))
                else:
                    again.append(one)
                    self.waiting = f"temporal: {outcome.detail}"
            left = again
            if left:
                pause = await _wait(pause, self.waiting)
        self.waiting = None

    async def _outcomes(self, left: Sequence[AskedAppend]) -> Sequence[Appended | NervError]:
        try:
            return await self._client.streams.append([one.request for one in left])
        except NervError as error:
            return [error] * len(left)

    async def _call(self, call: AskedCall, plan: Plan, gate: asyncio.Semaphore) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                async with gate:
                    await self._called(call)
                return
            except NervError as error:
                if error.retry is Retry.NEVER:
                    plan.letters.append(Letter(call.record, describe(error), call.asked.reaction))
                    return
                pause = await _wait(pause, f"{call.effect.target}: {error.detail}")

    async def _called(self, call: AskedCall) -> None:
        effect = call.effect
        if isinstance(effect, Run):
            await self._client.workflows.start(effect.workflow, effect.arguments, run=call.asked.id)
        else:
            await self._request(effect, call.asked.id)

    async def _request(self, effect: Http, effect_id: str) -> None:
        if not effect.url.startswith(self._settings.http_allow or ("\0",)):
            raise Forbidden(f"{effect.url} is not allowed; NERV_BROKER__HTTP_ALLOW lists the URL prefixes that are")
        headers = {"idempotency-key": effect_id, "content-type": "application/json"}
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
        body = None if effect.body is None else orjson.dumps(effect.body)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(effect.method, effect.url, data=body, headers=headers, allow_redirects=False) as answer,
            ):
                status = answer.status
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"{effect.target} did not answer: {str(error) or type(error).__name__}") from error
        if status in (408, 425, 429) or status >= 500:
            raise Unavailable(f"{effect.target} answered {status}")
        if status >= 300:
            raise Refused(f"{effect.target} answered {status}")


async def _wait(pause: float, why: str | None) -> float:
    log.warning("effects.wait", why=why, seconds=round(pause, 1))
    await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
    return min(2 * pause, LONGEST_PAUSE)
