# SPDX-License-Identifier: Apache-2.0
"""A process that writes its log to a file, in a session of its own, ended by its own id."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nerv.errors import Misconfigured

TAIL_BYTES = 16_384
TAIL_LINES = 20
POLL_SECONDS = 0.02
KILL_SECONDS = 10.0  # the kernel's time to end a process after SIGKILL


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, where its log goes, what it sees and where it stands (by default where we do)."""

    name: str
    arguments: Sequence[str]
    log: Path
    environment: Mapping[str, str]
    folder: Path | None = None


class Process:
    """One started process. The log is a file and no pipe: it is there after a crash, and a slow reader stops nobody."""

    def __init__(self, command: Command) -> None:
        """Start it. Raises Misconfigured when there is no such program."""
        self.command = command
        command.log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with command.log.open("ab") as log:
                self._popen = subprocess.Popen(
                    command.arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=dict(command.environment),
                    cwd=command.folder,
                    start_new_session=True,  # a terminal's Ctrl-C reaches the supervisor alone, which ends the rest in order
                )
        except OSError as error:
            raise Misconfigured(f"{command.name} cannot be started: {error}") from error

    @property
    def name(self) -> str:
        """The name people see."""
        return self.command.name

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self._popen.poll()

    def tail(self, lines: int = TAIL_LINES) -> list[str]:
        """The last lines of its log."""
        return tail(self.command.log, lines)

    def send(self, number: signal.Signals) -> None:
        """Send a signal; one that is gone is fine (subprocess checks before)."""
        self._popen.send_signal(number)

    def kill(self) -> None:
        """SIGKILL to it and to the processes it started, and wait until it is gone."""
        if self._popen.poll() is None:  # not reaped yet, so that the group's number is still its own
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait(KILL_SECONDS)


def stop_together(processes: Sequence[Process], grace: float, hurry: threading.Event | None = None) -> list[Process]:
    """SIGTERM to all, wait `grace` seconds for all (or until `hurry` is set), then SIGKILL; answers those that were killed."""
    for process in processes:
        process.send(signal.SIGTERM)
    deadline = time.monotonic() + grace
    left = list(processes)
    while left and time.monotonic() < deadline and not (hurry is not None and hurry.is_set()):
        left = [process for process in left if process.exit_code() is None]
        time.sleep(POLL_SECONDS if left else 0.0)
    for process in left:
        process.kill()
    return left


def tail(log: Path, lines: int) -> list[str]:
    """The last lines of a file, at most 16 KiB of it; none when it is not there."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-lines:]


def describe_exit(code: int) -> str:
    """`exit code 2`, `killed by SIGKILL`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
