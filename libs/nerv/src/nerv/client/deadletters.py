# SPDX-License-Identifier: Apache-2.0
"""Dead letters, by the broker: look at them, edit them, send them to their subscriber again."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from nerv.client.transport import Transport


class DeadLetters:
    """Calls the *broker*. A letter's id is `partition:offset`. A choice is `letters=[ids]`, `key="..."` or `all=True`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def list(self, **words: str | int | None) -> dict[str, Any]:
        """The newest letters: `{letters: [{id, subscription, state, key, cause, attempt, origin, ...}], next}`.

        Words are subscription, key, cause, topic, limit, and before, which is `next` of the page before.
        """
        answer = await self._transport.request("broker", "GET", "/v1/deadletters", query=words)
        page: dict[str, Any] = answer.json()
        return page

    async def parked(self, subscription: str) -> dict[str, Any]:
        """How many letters of a subscription wait for people, and which keys wait for them."""
        return await self._transport.json("broker", "GET", _path(subscription))

    async def show(self, subscription: str, letter: str) -> dict[str, Any]:
        """All of a letter: cause, headers, data, and the event it is. Raises NotFound."""
        return await self._transport.json("broker", "GET", f"{_path(subscription)}/{quote(letter, safe='')}")

    async def edit(self, subscription: str, letter: str, change: Mapping[str, Any]) -> str:
        """A new edition, with other `data` (JSON), `base64` or `headers`; its id. Raises Conflict, NotFound."""
        answer = await self._transport.json("broker", "PUT", f"{_path(subscription)}/{quote(letter, safe='')}", change)
        return str(answer["id"])

    async def replay(self, subscription: str, *, rate: float | None = None, **choice: Any) -> int:
        """Letters go to their subscriber again, to nobody else; how many. Those on their way already are not counted. Those of a
        topic's door (`door:<topic>`) are published to it, through the same checks; raises SchemaMismatch while they do not fit.
        """
        words = choice if rate is None else choice | {"rate": rate}
        answer = await self._transport.json("broker", "POST", f"{_path(subscription)}/replay", words)
        return int(answer["replaying"]) + int(answer.get("published", 0))

    async def discard(self, subscription: str, *, why: str = "", **choice: Any) -> int:
        """Nobody wants these letters; how many. A key without letters goes on."""
        return int(
            (await self._transport.json("broker", "POST", f"{_path(subscription)}/discard", choice | {"why": why}))[
                "discarded"
            ]
        )


def _path(subscription: str) -> str:
    return f"/v1/deadletters/{quote(subscription, safe='')}"
