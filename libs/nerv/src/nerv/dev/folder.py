# SPDX-License-Identifier: Apache-2.0
"""The folder `.nerv`: who runs here, where its parts can be reached, its data and its logs.

.nerv/dev.lock       held while a mesh runs here; the process id of who holds it
.nerv/context.json   the addresses, for the command line; gone when the mesh is
.nerv/logs/          one file a process, of the last run
.nerv/data/          with `persist`: kept from run to run
.nerv/runs/<token>/  without: made for one run and removed at its end
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from nerv.errors import Conflict

CLEANING_SECONDS = 20.0  # what the guard of a killed supervisor may take
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class MeshFolder:
    """The paths of one run. They are absolute: services may change their working directory."""

    root: Path
    token: str
    persist: bool

    @property
    def context(self) -> Path:
        """Where the addresses are written."""
        return self.root / "context.json"

    @property
    def logs(self) -> Path:
        """One file a process."""
        return self.root / "logs"

    @property
    def data(self) -> Path:
        """What Kafka, Redis and the services keep."""
        return self.root / "data" if self.persist else self.root / "runs" / self.token

    @property
    def passing(self) -> list[Path]:
        """What is removed at the end of the run."""
        return [self.context] if self.persist else [self.context, self.data]

    def clear_logs(self) -> None:
        """Remove the logs of the last run."""
        self.logs.mkdir(parents=True, exist_ok=True)
        for log in self.logs.glob("*.log"):
            log.unlink(missing_ok=True)


@contextmanager
def claim(root: Path) -> Iterator[int]:
    """Hold the folder for this process; yields the lock's descriptor.

    Raises Conflict when another mesh runs here. When its supervisor was killed, waits until its guard has cleaned up.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / "dev.lock").open("a+", encoding="utf-8") as file:
        _lock(file, root)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield file.fileno()


def _lock(file: IO[str], root: Path) -> None:
    deadline = time.monotonic() + CLEANING_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(file)
            if psutil.pid_exists(holder) or time.monotonic() > deadline:
                raise Conflict(
                    f"a mesh runs in {root} already, as process {holder}: stop that one (Ctrl-C, or kill {holder}), "
                    "or start this one in another folder"
                ) from None
            time.sleep(POLL_SECONDS)
        else:
            return


def _holder(file: IO[str]) -> int:
    file.seek(0)
    text = file.read().strip()
    return int(text) if text.isdigit() else 0


def write_context(path: Path, context: Mapping[str, Any]) -> None:
    """Write the context whole: a reader sees the old one or the new one."""
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(context, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)
