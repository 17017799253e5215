# SPDX-License-Identifier: Apache-2.0
"""Perform what answers ask for, outside the transaction that ends them: appends, runs, calls. Repeats change nothing."""

import asyncio
import random
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import aiohttp
import orjson
import structlog

from nerv.app import App
from nerv.client import Client
from nerv.effects import Handlers, Http, Run
from nerv.effects.identity import performing
from nerv.errors import Forbidden, NervError, Refused, Retry, Unavailable
from nerv.protocols import Appended, AppendRequest
from nerv.types import Effect, EffectType, frozen
from nerv.workflows import Cause
from nerv_broker.model import Asked
from nerv_broker.reactions.answers import Answer
from nerv_broker.settings import EdgeSettings

log = structlog.get_logger(__name__)

FIRST_PAUSE = 0.2  # s
LONGEST_PAUSE = 5.0
CALL_SECONDS = 30.0
CALLS_AT_ONCE = 8


@frozen
class Appending(Effect[Appended]):
    """An append with its identity, as handlers and aspects meet it."""

    kind: ClassVar[str] = EffectType.APPEND
    request: AppendRequest

    @property
    def target(self) -> str:
        """The stream."""
        return self.request.stream


@frozen
class Running(Effect[str]):
    """A run with its identity."""

    kind: ClassVar[str] = EffectType.RUN
    run: Run
    id: str
    cause: Cause

    @property
    def target(self) -> str:
        """The workflow."""
        return self.run.target


@frozen
class Calling(Effect[None]):
    """A call of an outside system with its identity."""

    kind: ClassVar[str] = EffectType.HTTP
    call: Http
    id: str

    @property
    def target(self) -> str:
        """Method and URL."""
        return self.call.target


class Performer:
    """Performs answers. What is refused is the error of its answer; what is unknown or not now is repeated until it is known.

    `waiting` says what a partition is waiting for, while it is.
    """

    def __init__(self, app: App, client: Client, settings: EdgeSettings) -> None:
        self._app, self._client, self._settings = app.name, client, settings
        self._own = app.weaver.handlers(app.handlers) if app.aspects else app.handlers
        mine = (
            Handlers("broker").on_batch(Appending, self._appended).on(Running, self._started).on(Calling, self._called)
        )
        self._handlers = app.weaver.handlers(mine) if app.aspects else mine
        self.waiting: str | None = None

    async def perform(self, answers: Sequence[Answer]) -> None:
        """All that good answers ask for but publishes. Returns only when each is done or refused; cancel it to give up.

        Appends first, those of a stream in order; then what is called, in order for each key and side by side for others.
        """
        good = [one for one in answers if one.good]
        lanes: list[list[tuple[Answer, Appending]]] = [[] for _ in range(self._settings.append_lanes)]
        for one in good:
            for request in one.appends:
                lanes[zlib.crc32(request.stream.encode()) % len(lanes)].append((one, Appending(request)))
        async with asyncio.TaskGroup() as group:
            for lane in lanes:
                if lane:
                    group.create_task(self._append(lane))
        gate = asyncio.Semaphore(CALLS_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for key in _by_key(good):
                group.create_task(self._call(key, gate))
        self.waiting = None

    async def _append(self, lane: Sequence[tuple[Answer, Appending]]) -> None:
        """The appends of one lane, in order. Those without a verdict are repeated before any later ones go on."""
        pause = FIRST_PAUSE
        left = list(lane)
        while left:
            outcomes = await self._handlers.perform_all([effect for _, effect in left])
            again = []
            for (answer, effect), outcome in zip(left, outcomes, strict=True):
                if not isinstance(outcome, Exception):
                    continue
                if isinstance(outcome, NervError) and outcome.retry is not Retry.NEVER:
                    again.append((answer, effect))
                    self.waiting = f"temporal: {outcome.detail}"
                else:
                    answer.error = outcome
            left = again
            if left:
                pause = await _wait(pause, self.waiting)

    async def _appended(self, effects: Sequence[Appending]) -> Sequence[Appended | NervError]:
        try:
            return await self._client.streams.append([effect.request for effect in effects])
        except NervError as error:
            return [error] * len(effects)

    async def _call(self, answers: Sequence[Answer], gate: asyncio.Semaphore) -> None:
        """The calls of one key, in order; behind one that is refused the others are held."""
        for number, answer in enumerate(answers):
            for asked in answer.calls:
                if answer.error is None:
                    answer.error = await self._until_known(asked, gate)
            if answer.error is not None and answer.lane is not None:
                for behind in answers[number + 1 :]:
                    behind.held = True
                return

    async def _until_known(self, asked: Asked, gate: asyncio.Semaphore) -> Exception | None:
        pause = FIRST_PAUSE
        while True:
            try:
                async with gate:
                    await self._one(asked)
            except NervError as error:
                if error.retry is Retry.NEVER:
                    return error
                self.waiting = f"{asked.effect.target or asked.effect.kind}: {error.detail}"
            except Exception as error:  # a handler of the app may raise anything
                return error
            else:
                return None
            pause = await _wait(pause, self.waiting)

    async def _one(self, asked: Asked) -> None:
        effect = asked.effect
        if isinstance(effect, Run):
            await self._handlers.perform(Running(effect, asked.id, self._cause(asked)))
        elif isinstance(effect, Http):
            await self._handlers.perform(Calling(effect, asked.id))
        else:
            with performing(asked.id):
                await self._own.perform(effect)

    def _cause(self, asked: Asked) -> Cause:
        cause = asked.cause
        return Cause(cause.id, cause.correlation_id or cause.id, f"{self._app}/{asked.reaction}")

    async def _started(self, effect: Running) -> str:
        asked = effect.run
        started = await self._client.workflows.start(asked.workflow, asked.arguments, run=effect.id, cause=effect.cause)
        return str(started["run"])

    async def _called(self, effect: Calling) -> None:
        call = effect.call
        if not call.url.startswith(self._settings.http_allow or ("\0",)):
            raise Forbidden(f"{call.url} is not allowed; NERV_BROKER__HTTP_ALLOW lists the URL prefixes that are")
        headers = {"idempotency-key": effect.id, "content-type": "application/json"}
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
        body = None if call.body is None else orjson.dumps(call.body)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(call.method, call.url, data=body, headers=headers, allow_redirects=False) as answer,
            ):
                status = answer.status
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"{call.target} did not answer: {str(error) or type(error).__name__}") from error
        if status in (408, 425, 429) or status >= 500:
            raise Unavailable(f"{call.target} answered {status}")
        if status >= 300:
            raise Refused(f"{call.target} answered {status}")


def _by_key(answers: Iterable[Answer]) -> list[list[Answer]]:
    """Answers that call something, those of a key together, in order."""
    found: dict[Any, list[Answer]] = {}
    for one in answers:
        if one.error is None and one.calls:
            found.setdefault(one.lane or id(one), []).append(one)
    return list(found.values())


async def _wait(pause: float, why: str | None) -> float:
    log.warning("effects.wait", why=why, seconds=round(pause, 1))
    await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
    return min(2 * pause, LONGEST_PAUSE)
