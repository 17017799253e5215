# SPDX-License-Identifier: Apache-2.0
"""A server in a process of its own: the broker as `nerv serve` runs it, or a bare handler on the same server."""

import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from nerv.dev.ports import Ports
from nerv.kafka import KafkaSettings
from nerv.kafka.admin import Admin
from nerv.topics import of_mesh

APP = "bench.broker.app:app"
PARTITIONS = 4
NOTHING: Mapping[str, str] = {}


class Server(NamedTuple):
    """Where it listens, and its process."""

    port: int
    process: psutil.Popen

    def cpu(self) -> float:
        """Seconds of CPU that it has used."""
        used = self.process.cpu_times()
        return float(used.user + used.system)

    def resident_mib(self) -> float:
        """Resident memory, MiB."""
        return float(self.process.memory_info().rss) / 2**20


@contextmanager
def serving(
    kind: str, bootstrap: str, topic: str, module: str = "nerv_broker", told: Mapping[str, str] = NOTHING
) -> Iterator[Server]:
    """`ours`, run as this module, or `bare`; it is ended with the block, and may not have begun to listen yet. `told` is added to
    its environment.
    """
    with tempfile.TemporaryDirectory(prefix="nerv-bench-") as name:
        port = Ports(Path(name)).take()
        process = psutil.Popen(
            _command(kind, bootstrap, topic, port, module), env={**_environment(bootstrap, topic, port), **told}
        )
        try:
            yield Server(port, process)
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def _command(kind: str, bootstrap: str, topic: str, port: int, module: str) -> list[str]:
    if kind == "bare":
        return [sys.executable, "-m", "bench.broker.peers.bare_http", bootstrap, topic, str(port)]
    return [sys.executable, "-m", module]


def _environment(bootstrap: str, topic: str, port: int) -> dict[str, str]:
    mesh = f"b{uuid.uuid4().hex[:8]}"
    Admin(KafkaSettings(bootstrap_servers=bootstrap), "bench").create(of_mesh(mesh, projections=[]), replication=1)
    told = {
        "NERV_MESH": mesh, "NERV_APP": APP, "BENCH_TOPIC": topic, "NERV_INSECURE_DEV": "1", "NERV_LOG_LEVEL": "ERROR",
        "NERV_KAFKA__BOOTSTRAP_SERVERS": bootstrap, "NERV_HTTP__PORT": str(port), "NERV_HEALTH__PORT": "0",
    }  # fmt: skip
    return {**os.environ, **told}
