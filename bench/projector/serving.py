# SPDX-License-Identifier: Apache-2.0
"""Servers in processes of their own: the projector as `nerv serve` runs it, temporal beside it, or a bare handler."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.projector.events import PARTITIONS
from nerv.dev.ports import Ports

APP = "bench.projector.app:app"
STOP_SECONDS = 15.0


@contextmanager
def running(command: Sequence[str], env: Mapping[str, str]) -> Iterator[None]:
    """A process of this interpreter; it is ended with the block."""
    process = subprocess.Popen([sys.executable, *command], env={**os.environ, **env})
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def bare(redis: str, mesh: str, projection: str) -> Iterator[int]:
    """The port of a bare handler on the server that ours runs on."""
    with _folder() as folder:
        port = Ports(folder).take()
        with running(["-m", "bench.projector.peers.bare_http", redis, mesh, projection, str(port)], {}):
            yield port


@contextmanager
def mesh_of(bootstrap: str, redis: str, mesh: str, *, temporal: bool = False) -> Iterator[int]:
    """The port of a projector with all of the app's projections, with a temporal behind it where instants are asked for.

    Neither may have begun to listen yet.
    """
    with _folder() as folder, ExitStack() as stack:
        ports = Ports(folder)
        port, other = ports.take(), ports.take()
        told = {
            "NERV_MESH": mesh, "NERV_APP": APP, "NERV_INSECURE_DEV": "1", "NERV_LOG_LEVEL": "ERROR",
            "NERV_PARTITIONS": str(PARTITIONS), "NERV_KAFKA__BOOTSTRAP_SERVERS": bootstrap, "NERV_HEALTH__PORT": "0",
            "NERV_REDIS__URL": redis, "NERV_SERVICES__TEMPORAL": f"http://127.0.0.1:{other}",
            "NERV_DATA_DIR": str(folder),
        }  # fmt: skip
        if temporal:
            stack.enter_context(running(["-m", "nerv_temporal"], {**told, "NERV_HTTP__PORT": str(other)}))
        stack.enter_context(running(["-m", "nerv_projector"], {**told, "NERV_HTTP__PORT": str(port)}))
        yield port


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nerv-bench-") as name:
        yield Path(name)
