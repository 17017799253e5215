# SPDX-License-Identifier: Apache-2.0
"""Nothing is left behind: a small process of its own that outlives whoever started the stack, and then ends the stack.

Its standard input is a pipe that only the starter holds. When the starter is gone, whatever ended it (Ctrl-C, SIGTERM,
kill -9, the out-of-memory killer), the pipe closes; the guard then ends every process that carries this stack's mark in
its environment, grandchildren included, and removes the files it was told of. A parent-death signal would do neither for
grandchildren, nor outside Linux, and it fires when the thread that forked ends.

This file is run by its path, so that it starts without importing `nerv`: only the standard library and psutil here.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

MARK = "NERV_DEV_STACK"
GRACE_SECONDS = 4.0  # SIGTERM to SIGKILL when the starter is gone: nobody waits for a drain any more
ROUNDS = 5  # a process may fork while it is being ended
CLOSE_SECONDS = 20.0
POLL_SECONDS = 0.02


@contextmanager
def guard(token: str, *, remove: Sequence[Path] = (), keep_open: Sequence[int] = ()) -> Iterator[None]:
    """While the block runs, and after a death in it: nothing that carries the mark `token` outlives it.

    `remove` are files and folders to delete in the end; `keep_open` are descriptors (a lock) that the guard holds too, so
    that nobody takes them before it is done. Leaving the block waits until the guard has done its work.
    """
    # The mark of an outer stack is left out: its guard must not end this one before it has done its work.
    environment = {name: value for name, value in os.environ.items() if name != MARK}
    process = subprocess.Popen(
        [sys.executable, "-I", __file__, token, *(str(path.absolute()) for path in remove)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=environment,
        pass_fds=keep_open,
        start_new_session=True,  # a terminal's Ctrl-C is not for the guard
    )
    try:
        yield
    finally:
        process.communicate(timeout=CLOSE_SECONDS)


def mark(base: Mapping[str, str], token: str) -> dict[str, str]:
    """The environment of a process that belongs to the stack `token`."""
    return {**base, MARK: token}


def marked(token: str) -> list[psutil.Process]:
    """The processes of a stack. Those of other users cannot be read and are not ours."""
    return [process for process in psutil.process_iter() if _mark(process) == token]


def _mark(process: psutil.Process) -> str | None:
    try:
        found: str | None = process.environ().get(MARK)
    except (psutil.Error, OSError):
        return None
    return found


def end(processes: Iterable[psutil.Process], grace: float) -> None:
    """SIGTERM to all together, and SIGKILL to those still there after `grace` seconds. Gone ones are fine."""
    asked = list(processes)
    for process in asked:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    left = _outliving(asked, grace)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _outliving(left, grace)


def _outliving(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    deadline = time.monotonic() + seconds
    while (left := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return left


def _runs(process: psutil.Process) -> bool:
    """A zombie has ended: whoever started it has only not asked for its exit code."""
    try:
        running: bool = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    return running


def main(token: str, paths: Sequence[str]) -> None:
    """Wait for the pipe to close, then end the stack and remove its files."""
    while os.read(0, 1024):
        pass
    for _ in range(ROUNDS):
        left = marked(token)
        if not left:
            break
        end(left, GRACE_SECONDS)
    for path in map(Path, paths):
        _remove(path)


def _remove(path: Path) -> None:
    for _ in range(ROUNDS):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        if not path.exists():
            return
        time.sleep(0.1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
