# SPDX-License-Identifier: Apache-2.0
"""Groups, by the broker: make one, share its events with other members, answer for each of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from nerv.client.sse import subscription
from nerv.client.transport import DEADLINE_SECONDS, Query, Transport
from nerv.cloudevents.json_format import from_mapping
from nerv.errors import Unavailable, UnknownOutcome
from nerv.types import Event, new_event_id

WAIT_SECONDS = 20.0  # of one long poll
AT_ONCE = 500  # verdicts a request


@dataclass(frozen=True, slots=True)
class Delivered:
    """An event in a member's hand. Answer with the token before the lease ends, or it goes to somebody else."""

    token: str
    event: Event[bytes]
    partition: int
    offset: int
    attempt: int
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a delivery: ack, retry, park, skip, renew or release. `after` is seconds until the next attempt."""

    token: str
    verdict: str = "ack"
    after: float | None = None
    cause: str = ""

    def document(self) -> dict[str, Any]:
        """As the request has it."""
        found = {"token": self.token, "verdict": self.verdict, "cause": self.cause}
        return found if self.after is None else found | {"after": self.after}


class Subscriptions:
    """Calls the *broker*."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def make(self, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Make a group: `{"topic": ..., "from": "earliest", "strategy": "by-key", ...}`; a repeat changes nothing.

        Raises Conflict where there is another of this name.
        """
        return await self._transport.json("broker", "PUT", _path(name), spec)

    async def delete(self, name: str) -> None:
        """Delete a group. Its dead letters stay. Raises NotFound."""
        await self._transport.json("broker", "DELETE", _path(name))

    async def list(self) -> "list[dict[str, Any]]":
        """The groups, with their lag."""
        found: list[dict[str, Any]] = (await self._transport.json("broker", "GET", "/v1/subscriptions"))[
            "subscriptions"
        ]
        return found

    async def show(self, name: str) -> dict[str, Any]:
        """A group, its members, partitions, lag and dead letters. Raises NotFound."""
        return await self._transport.json("broker", "GET", _path(name))

    async def fetch(self, name: str, member: str, limit: int = 1, *, wait: float = WAIT_SECONDS) -> Sequence[Delivered]:
        """Up to `limit` events for a member; none when there are none for `wait` seconds (30 at most)."""
        body = {"member": member, "limit": limit, "wait": wait}
        answer = await self._transport.json(
            "broker", "POST", f"{_path(name)}/fetch", body, seconds=DEADLINE_SECONDS + wait
        )
        return [_delivered(one) for one in answer["events"]]

    async def events(self, name: str, member: str, limit: int = 100) -> AsyncIterator[Delivered]:
        """Events as they become ready, at most `limit` in the member's hand; a connection that breaks is made anew."""
        query: Query = {"member": member, "limit": limit}
        async with aclosing(subscription(self._transport, "broker", f"{_path(name)}/events", query)) as events:
            async for fields in events:
                yield _delivered(orjson.loads(fields["data"]))

    async def conclude(self, name: str, verdicts: Sequence[Verdict]) -> Sequence[str]:
        """Answer for deliveries; gives the tokens that are not in the member's hand any more: those events come again."""
        lost: list[str] = []
        for at in range(0, len(verdicts), AT_ONCE):
            body = {"verdicts": [one.document() for one in verdicts[at : at + AT_ONCE]]}
            lost += (await self._transport.json("broker", "POST", f"{_path(name)}/verdicts", body))["lost"]
        return lost

    async def work(
        self,
        name: str,
        handler: Callable[[Event[bytes]], Awaitable[Any]],
        *,
        member: str | None = None,
        at_once: int = 10,
    ) -> None:
        """Have `handler` process the events of a group, up to `at_once` side by side; for ever, or until it is cancelled.

        One that returns acknowledges; one that raises has it tried again, and given up after the group's most attempts.
        While it runs the lease is renewed. At least once: it may see an event again.
        """
        who = member or f"member-{new_event_id()}"
        lease: float = (await self.show(name))["lease_seconds"]
        async with asyncio.TaskGroup() as group:
            running: set[asyncio.Task[None]] = set()
            while True:
                if len(running) >= at_once:
                    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    running = {task for task in running if not task.done()}
                    continue
                for one in await self.fetch(name, who, at_once - len(running)):
                    running.add(group.create_task(self._process(name, one, handler, lease)))

    async def _process(
        self, name: str, one: Delivered, handler: Callable[[Event[bytes]], Awaitable[Any]], lease: float
    ) -> None:
        renewing = asyncio.create_task(self._renew(name, one.token, lease / 3))
        try:
            await handler(one.event)
            verdict = Verdict(one.token)
        except Exception as error:  # whatever it is, the group tries again, or gives up
            verdict = Verdict(one.token, "retry", cause=f"{type(error).__name__}: {error}")
        finally:
            renewing.cancel()
        with suppress(Unavailable, UnknownOutcome):  # then the lease ends, and the event comes again
            await self.conclude(name, [verdict])

    async def _renew(self, name: str, token: str, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            with suppress(Unavailable, UnknownOutcome):
                await self.conclude(name, [Verdict(token, "renew")])


def _delivered(document: Mapping[str, Any]) -> Delivered:
    return Delivered(
        document["token"],
        from_mapping(document["event"]),
        document["partition"],
        document["offset"],
        document["attempt"],
        document["replayed"],
    )


def _path(name: str) -> str:
    return f"/v1/subscriptions/{quote(name, safe='')}"
