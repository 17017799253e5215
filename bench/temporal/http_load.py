# SPDX-License-Identifier: Apache-2.0
"""`ours|bare BOOTSTRAP TOPIC COUNT CONNECTIONS`: starts a server, appends by so many connections, one event a request.

The client writes bytes and looks for the status and the length, no more, so that it measures the server. Prints requests a
second.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
import uuid
from functools import partial
from pathlib import Path
from typing import cast

import uvloop

from bench.temporal.app import DATA, TYPE
from bench.temporal.hosting import APP, PARTITIONS, settings_for
from nerv.dev.ports import Ports

HEAD = (
    "POST /v1/streams/%s/events?expected_version=%d HTTP/1.1\r\nhost: x\r\n"
    "content-type: application/cloudevents+json\r\ncontent-length: %d\r\n\r\n"
)
EVENT = (
    '{"specversion":"1.0","id":"%s","source":"bench","type":"' + TYPE + '","time":"2026-11-26T12:00:00Z",'
    '"datacontenttype":"application/json","data":%s}'
)
START_SECONDS = 60.0
TURN_SECONDS = 240.0


def server(kind: str, bootstrap: str, topic: str, folder: Path, port: int) -> subprocess.Popen[bytes]:
    """The process of a server."""
    if kind == "bare":
        command = ["-m", "bench.temporal.peers.bare_http", bootstrap, topic, str(PARTITIONS), str(port)]
        return subprocess.Popen([sys.executable, *command])
    mesh = f"b{uuid.uuid4().hex[:8]}"
    settings_for(bootstrap, mesh, folder)
    told = {
        "NERV_MESH": mesh, "NERV_APP": APP, "NERV_INSECURE_DEV": "1", "NERV_DATA_DIR": str(folder),
        "NERV_PARTITIONS": str(PARTITIONS), "NERV_KAFKA__BOOTSTRAP_SERVERS": bootstrap, "NERV_HTTP__PORT": str(port),
        "NERV_HEALTH__PORT": "0", "NERV_LOG_LEVEL": "ERROR",
    }  # fmt: skip
    return subprocess.Popen([sys.executable, "-m", "nerv_temporal"], env={**os.environ, **told})


class Connection(asyncio.Protocol):
    """One connection: a request at a time, the next as soon as the answer is whole."""

    def __init__(self, number: int, left: "list[int]") -> None:
        self._stream, self._left = f"counter-{number}", left
        self._version = 0
        self._held = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first."""
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        """Look whether the answer is whole and good."""
        self._held += data
        head, separator, body = self._held.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._held = b""
        if not head.startswith(b"HTTP/1.1 201"):
            self.done.set_exception(AssertionError(f"{head!r} {body!r}"))
            return
        self._version += 1
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        """Nothing more comes."""
        if not self.done.done():
            self.done.set_exception(error or EOFError("the server closed the connection"))

    def _send(self) -> None:
        if not self._left:
            self.done.set_result(None)
            return
        number = self._left.pop()
        body = EVENT % (f"{self._stream}/{self._version}", (DATA % number).decode())
        self._transport.write((HEAD % (self._stream, self._version, len(body)) + body).encode())


async def load(port: int, count: int, connections: int) -> float:
    """Requests a second, once the server listens and answers."""
    loop = asyncio.get_running_loop()
    await answering(port)

    async def turn(first: int, requests: int) -> None:
        left = list(range(requests))
        made = [
            await loop.create_connection(partial(Connection, number, left), "127.0.0.1", port)
            for number in range(first, first + connections)
        ]
        await asyncio.gather(*(connection.done for _, connection in made))

    await turn(1000, count // 5)
    began = time.perf_counter()
    await turn(0, count)
    return count / (time.perf_counter() - began)


async def answering(port: int) -> None:
    """Wait until one append is answered well."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            _, one = await asyncio.get_running_loop().create_connection(lambda: Connection(-1, [0]), "127.0.0.1", port)
            await one.done
            return
        except (OSError, AssertionError, EOFError):
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.1)


def main(kind: str, bootstrap: str, topic: str, count: int, connections: int) -> float:
    """Requests a second."""
    with tempfile.TemporaryDirectory(prefix="nerv-bench-") as name:
        port = Ports(Path(name)).take()
        process = server(kind, bootstrap, topic, Path(name), port)
        try:
            return uvloop.run(asyncio.wait_for(load(port, count, connections), TURN_SECONDS))
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    figure = main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    sys.stdout.write(f"{figure}\n")
