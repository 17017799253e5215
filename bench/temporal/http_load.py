# SPDX-License-Identifier: Apache-2.0
"""`ours|bare BOOTSTRAP TOPIC COUNT CONNECTIONS`: starts a server, appends by so many connections, one event a request. Prints
requests a second.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import uvloop

from bench.connection import answering, send
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


def lane(number: int, requests: int) -> Iterator[tuple[float, bytes]]:
    """What one connection sends: events of a stream of its own, each with the exact version."""
    stream = f"counter-{number}"
    for version in range(requests):
        body = EVENT % (f"{stream}/{version}", (DATA % version).decode())
        yield 0.0, (HEAD % (stream, version, len(body)) + body).encode()


async def load(port: int, count: int, connections: int) -> float:
    """Requests a second, once the server listens and answers."""
    await answering(port, next(lane(-1, 1))[1])

    async def turn(first: int, requests: int) -> None:
        await send(port, [lane(first + number, requests // connections) for number in range(connections)])

    await turn(1000, count // 5)
    began = time.perf_counter()
    await turn(0, count)
    return count // connections * connections / (time.perf_counter() - began)


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
