# SPDX-License-Identifier: Apache-2.0
"""Wait for a server that was just started, and say what is wrong when it does not come."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

from nerv.dev.processes import Process, describe_exit
from nerv.errors import Unavailable

POLL_SECONDS = 0.02
PORT_ATTEMPTS = 3  # somebody else may take a free port before the server does
TAKEN = "Address already in use"  # Java's, Valkey's and Redis's words for it

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers. `process` is None when it is not ours; ours is ended with `stop_together`, or by the guard."""

    address: str
    process: Process | None


class PortTaken(Unavailable):
    """Somebody was quicker at this port."""


def with_free_port(start: Callable[[], S]) -> S:
    """Run `start`, which picks a port, again when its port was taken meanwhile."""
    for _ in range(PORT_ATTEMPTS - 1):
        try:
            return start()
        except PortTaken:
            continue
    return start()


def wait_ready(process: Process, port: int, answers: Callable[[float], None], seconds: float) -> None:
    """Wait until the process listens on its port and `answers(seconds left)` returns. Otherwise it is ended.

    Raises Unavailable with the last lines of its log.
    """
    deadline = time.monotonic() + seconds
    try:
        _wait_listening(process, port, deadline)
        answers(deadline - time.monotonic())
    except Unavailable as error:
        process.kill()
        raise _failure(process, str(error)) from error
    except BaseException:
        process.kill()
        raise


def _wait_listening(process: Process, port: int, deadline: float) -> None:
    while not listens(process.pid, port):
        code = process.exit_code()
        if code is not None:
            raise Unavailable(describe_exit(code))
        if time.monotonic() > deadline:
            raise Unavailable("it did not open its port in time")
        time.sleep(POLL_SECONDS)


def listens(pid: int, port: int) -> bool:
    """Whether the listener is this very process, or one that it has started: another one may have been quicker at the port."""
    try:
        process = psutil.Process(pid)
        found = [c for one in (process, *process.children(recursive=True)) for c in one.net_connections("tcp")]
    except psutil.Error:
        return False
    return any(c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port for c in found)


def _failure(process: Process, cause: str) -> Unavailable:
    """The error of a server that did not start."""
    lines = process.tail()
    kind = PortTaken if any(TAKEN in line for line in lines) else Unavailable
    return kind(report(process.name, f"did not start: {cause}", lines, process.command.log))


def report(name: str, cause: str, lines: list[str], log: Path) -> str:
    """A name, what happened to it, its last lines, and where the rest is."""
    said = "\n".join(f"    {line}" for line in lines) or "    (it wrote nothing)"
    return f"{name} {cause}. Its last lines:\n{said}\nThe whole log: {log}"
