# SPDX-License-Identifier: Apache-2.0
"""Free ports on 127.0.0.1 for servers that start a moment later."""

import hashlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from nerv.errors import Unavailable

HOST = "127.0.0.1"
# Below the range that systems take outgoing ports from (Linux 32768-60999, macOS 49152-65535): a port from there could
# be some client's before the server binds it, and a service that restarts could not come back to it.
FIRST, LAST = 15_000, 32_000


class Ports:
    """Hands out ports, none twice. The search begins at a place of its own for each folder, so that a mesh that starts again
    in the same folder gets the same ports when they are still free, and meshes in different folders seldom meet."""

    def __init__(self, folder: Path) -> None:
        digest = hashlib.sha256(str(folder.absolute()).encode()).digest()
        self._lock = threading.Lock()  # Kafka and Redis start in threads side by side
        self._candidates = _from(FIRST + int.from_bytes(digest[:4]) % (LAST - FIRST))

    def take(self) -> int:
        """The next free port. Raises Unavailable when there is none."""
        with self._lock:
            for port in self._candidates:
                if _is_free(port):
                    return port
        raise Unavailable(f"no free port between {FIRST} and {LAST} on {HOST}; end some servers")


def _from(start: int) -> Iterator[int]:
    yield from range(start, LAST)
    yield from range(FIRST, start)


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT is no reason
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
