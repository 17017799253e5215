# SPDX-License-Identifier: Apache-2.0
"""Server-sent events as they come (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

import asyncio
import math
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator

import aiohttp
import orjson

from nerv.client.transport import DEADLINE_SECONDS, FIRST_PAUSE, LONGEST_PAUSE, Query, Transport
from nerv.errors import NervError, Retry, Unavailable, from_problem

MOST_PENDING = 4 * 1024 * 1024  # bytes of one server-sent event before we give up on it


async def subscription(
    transport: Transport, service: str, path: str, query: Query, after: str | None = None
) -> AsyncGenerator[dict[str, str], None]:
    """The server-sent events of an answer, as their fields, until the service says that this was all.

    A connection that breaks, or is silent, is made anew after the last id, which `after` is at first, with the query as it
    is by then. Raises what the service answers where it will not change; what may change at first after 30 s, as of any request,
    and never once there was a connection.
    """
    last, pause = after, FIRST_PAUSE
    deadline = time.monotonic() + DEADLINE_SECONDS  # to be connected for the first time
    while True:
        headers = {"accept": "text/event-stream"} | ({} if last is None else {"last-event-id": last})
        try:
            async with transport.stream(service, path, query=query, headers=headers) as content:
                deadline = math.inf
                async for fields in _server_sent(content):
                    if fields.get("event") == "error":
                        problem = orjson.loads(fields["data"])
                        raise from_problem(problem, int(problem.get("status", 503)))
                    if fields.get("event") == "end":
                        return
                    last = fields.get("id", last)
                    if "data" in fields:
                        pause = FIRST_PAUSE  # not by a position alone, which comes before an error, too
                        yield fields
            raise Unavailable(f"{service} closed the event stream", retry_after=0.2)
        except NervError as error:
            wait = max(error.retry_after or 0.0, pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            # To read changes nothing: it is asked again, too, where a proxy cannot tell what became of a service that restarts.
            if error.retry is Retry.NEVER or time.monotonic() + wait >= deadline:
                raise
            await asyncio.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE)


async def _server_sent(content: aiohttp.StreamReader) -> AsyncIterator[dict[str, str]]:
    """Server-sent events as their fields. Raises Unavailable when the connection breaks."""
    pending = b""
    try:
        async for piece in content.iter_any():
            pending += piece
            *whole, pending = pending.split(b"\n\n")
            for block in whole:
                yield _fields(block)
            if len(pending) > MOST_PENDING:
                raise Unavailable(f"the service sent an event of more than {MOST_PENDING} bytes")
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unavailable(f"the event stream broke off: {str(error) or type(error).__name__}") from error


def _fields(block: bytes) -> dict[str, str]:
    fields = {}
    for line in block.decode().split("\n"):
        name, _, value = line.partition(": ")
        fields[name] = value
    return fields
