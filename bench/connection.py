# SPDX-License-Identifier: Apache-2.0
"""A client that costs little, so that the server is measured: it writes bytes, and looks for the status and the length."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import cast

START_SECONDS = 60.0


class Connection(asyncio.Protocol):
    """One connection: a request at a time, the next as soon as the answer is whole, or when it is due.

    `requests` are instants of the loop's clock (0: at once) with what is sent then. `waits` are the seconds from the instant on
    which a request was due to its answer, so that one that had to wait for an earlier one counts as what its sender saw.
    """

    def __init__(self, requests: Iterator[tuple[float, bytes]]) -> None:
        self._requests = requests
        self._held = b""
        self._due = 0.0
        self._loop = asyncio.get_running_loop()
        self.waits: list[float] = []
        self.done: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first."""
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        """Look whether the answer is whole and good."""
        self._held += data
        head, separator, body = self._held.partition(b"\r\n\r\n")
        if not separator:
            return
        if len(body) < int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            return
        self._held = b""
        if not head.startswith(b"HTTP/1.1 2"):
            self.done.set_exception(AssertionError(f"{head!r} {body[:500]!r}"))
            return
        self.waits.append(self._loop.time() - self._due)
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        """Nothing more comes."""
        if not self.done.done():
            self.done.set_exception(error or EOFError("the server closed the connection"))

    def _next(self) -> None:
        found = next(self._requests, None)
        if found is None:
            self.done.set_result(None)
            self._transport.close()
            return
        self._due = found[0] or self._loop.time()
        if self._due <= self._loop.time():
            self._transport.write(found[1])
        else:
            self._loop.call_at(self._due, self._transport.write, found[1])


async def send(port: int, requests: Sequence[Iterator[tuple[float, bytes]]]) -> list[float]:
    """All of them, a connection for each; answers the waits."""
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(_connection(one), "127.0.0.1", port) for one in requests]
    await asyncio.gather(*(connection.done for _, connection in made))
    return [wait for _, connection in made for wait in connection.waits]


async def answering(port: int, request: bytes) -> None:
    """Wait until one request is answered well."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            await send(port, [iter([(0.0, request)])])
            return
        except (OSError, AssertionError, EOFError):
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.1)


def _connection(requests: Iterator[tuple[float, bytes]]) -> Callable[[], Connection]:
    return lambda: Connection(requests)
