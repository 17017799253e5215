# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL 15 of its own: a new cluster on a free port, with `synchronous_commit` off or on; gone afterwards."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nerv.dev.ports import Ports
from nerv.errors import Misconfigured

PLACES = ("/usr/lib/postgresql/15/bin",)
USER = "postgres"  # Debian's; PostgreSQL does not run as root
CONNECTIONS = 700
START_SECONDS = 60.0


@contextmanager
def postgres_for_measuring(say: Callable[[str], None], *, synchronous: bool) -> Iterator[int]:
    """The port of a server that trusts whoever is on this machine. Raises Misconfigured where there is none to be had."""
    binaries = _binaries(say)
    with tempfile.TemporaryDirectory(prefix="nerv-bench-pg-") as name:
        folder = Path(name)
        if os.geteuid() == 0:
            shutil.chown(folder, USER)
        data, port = folder / "data", Ports(folder).take()
        _run([str(binaries / "initdb"), "--pgdata", str(data), "--username", USER, "--auth", "trust", "--no-sync"])
        options = (
            f"-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} "
            f"-c synchronous_commit={'on' if synchronous else 'off'} -c max_connections={CONNECTIONS}"
        )
        control = [str(binaries / "pg_ctl"), "--pgdata", str(data), "--wait", f"--timeout={START_SECONDS:.0f}"]
        say(f"starting PostgreSQL, synchronous_commit {'on' if synchronous else 'off'}")
        _run([*control, "--log", str(folder / "log"), "--options", options, "start"])
        try:
            yield port
        finally:
            _run([*control, "--mode", "immediate", "stop"])


def _binaries(say: Callable[[str], None]) -> Path:
    for place in PLACES:
        if (Path(place) / "initdb").exists():
            return Path(place)
    if os.geteuid() == 0 and shutil.which("apt-get"):
        say("installing PostgreSQL 15")
        for command in (
            ["apt-get", "update"],
            ["apt-get", "install", "--yes", "--no-install-recommends", "postgresql-15"],
        ):
            subprocess.run(
                command, check=False, capture_output=True, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            )
        if (Path(PLACES[0]) / "initdb").exists():
            return Path(PLACES[0])
    raise Misconfigured("PostgreSQL 15 is not installed: apt-get install postgresql-15")


def _run(command: Sequence[str]) -> None:
    # Output goes to no pipe: the server would hold it open, and nobody would see its end.
    with tempfile.TemporaryFile() as said:
        done = subprocess.run(
            command, stdout=said, stderr=said, check=False, cwd="/", user=USER if os.geteuid() == 0 else None
        )
        if done.returncode != 0:
            said.seek(0)
            raise Misconfigured(f"{command[0]} failed:\n{said.read().decode(errors='replace')[-2000:]}")
