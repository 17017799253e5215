# SPDX-License-Identifier: Apache-2.0
"""What members of a group get, and say: events by long poll or as server-sent events, from any replica."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import orjson
import structlog

from nerv.cloudevents import to_json_line
from nerv.errors import NervError, NotFound, Refused
from nerv_broker.groups.entries import Delivery, Token
from nerv_broker.groups.hosting import Hosted
from nerv_broker.groups.shared import Verdict

log = structlog.get_logger(__name__)

FIRST_LOOK = 0.01  # s, doubled up to the longest: what another replica has put in rings no bell here
LONGEST_LOOK = 0.2
HEARTBEAT = b": nothing new\n\n"
IN_ONE = 100

Closing = Callable[[], asyncio.Event]


async def fetch(hosted: Hosted, member: str, limit: int, seconds: float, closing: Closing) -> list[dict[str, Any]]:
    """Up to `limit` events that are ready, as documents; none when there are none for so long. Raises Unavailable."""
    deadline, look = time.monotonic() + seconds, FIRST_LOOK
    while True:
        found = await _readable(hosted, await hosted.shared.fetch(member, limit))
        left = deadline - time.monotonic()
        if found or left <= 0 or closing().is_set():
            return [document for _, document in found]
        await hosted.bell.wait(min(look, left))
        look = min(2 * look, LONGEST_LOOK)


async def conclude(hosted: Hosted, verdicts: Sequence[Verdict]) -> list[bool]:
    """What a member says of its events; false for each that is not in its hand any more."""
    told = await hosted.shared.conclude(verdicts)
    hosted.bell.ring()  # those behind them may be ready
    return told


async def stream(
    hosted: Hosted, member: str, limit: int, heartbeat: float, closing: Closing, gone: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """Events as they become ready, never more than `limit` in the member's hand. What it has not answered when the
    connection ends is given back, and is not counted as an attempt.
    """
    held: list[Token] = []
    beat, look = time.monotonic() + heartbeat, FIRST_LOOK
    try:
        while not closing().is_set():
            if gone():
                raise NotFound(f"there is no group {hosted.name} any more")
            if len(held) > limit // 2:
                held = await _still(hosted, held)
            room = min(limit - len(held), IN_ONE)
            found = await _readable(hosted, await hosted.shared.fetch(member, room)) if room > 0 else []
            if found:
                held += [token for token, _ in found]
                yield b"".join(_piece(token, document) for token, document in found)
                beat, look = time.monotonic() + heartbeat, FIRST_LOOK
                continue
            if time.monotonic() >= beat:
                yield HEARTBEAT
                beat = time.monotonic() + heartbeat
            await hosted.bell.wait(min(look, heartbeat))
            look = min(2 * look, LONGEST_LOOK)
    except NervError as error:
        yield b"event: error\ndata: " + orjson.dumps(error.problem()) + b"\n\n"
    finally:
        await asyncio.shield(_give_back(hosted, member, held))


async def _still(hosted: Hosted, held: Sequence[Token]) -> list[Token]:
    return [token for token, mine in zip(held, await hosted.shared.in_hand(held), strict=True) if mine]


async def _give_back(hosted: Hosted, member: str, held: Sequence[Token]) -> None:
    try:
        await conclude(hosted, [Verdict(token, "release") for token in held])
        await hosted.shared.leave(member)
    except NervError as error:
        log.warning("group.give_back", group=hosted.name, error=str(error))  # then their leases end


async def _readable(hosted: Hosted, deliveries: Sequence[Delivery]) -> list[tuple[Token, dict[str, Any]]]:
    """The documents of deliveries. What the middleware of a later release drops is settled here, and what it refuses, or cannot
    be said in JSON, is parked: no member could ever answer for it.
    """
    found, settled = [], []
    for one in deliveries:
        try:
            event = hosted.sight.event(one.entry)
            if event is None:
                settled.append(Verdict(one.token, "ack"))
            else:
                found.append((one.token, one.document() | {"event": orjson.Fragment(to_json_line(event))}))
        except (Refused, orjson.JSONEncodeError) as error:
            settled.append(Verdict(one.token, "park", cause=f"it cannot be handed out: {error}"))
    if settled:
        await conclude(hosted, settled)
    return found


def _piece(token: Token, document: dict[str, Any]) -> bytes:
    return b"id: " + str(token).encode() + b"\ndata: " + orjson.dumps(document) + b"\n\n"
