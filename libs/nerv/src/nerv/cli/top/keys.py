# SPDX-License-Identifier: Apache-2.0
"""Single keys of a terminal, as they are pressed."""

import asyncio
import os
import re
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

NAMES = {
    "\t": "tab", "\x1b[A": "up", "\x1b[B": "down", "\x1b[C": "right", "\x1b[D": "left", "\x1b[5~": "pageup",
    "\x1b[6~": "pagedown", "\x1bOA": "up", "\x1bOB": "down", "\x1bOC": "right", "\x1bOD": "left", "\x03": "q", "\x1b": "q",
}  # fmt: skip
_KEY = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Za-z]|.", re.DOTALL)


def names_of(text: str) -> list[str]:
    """The keys in what a terminal sent; a letter is its own name."""
    return [NAMES.get(key, key) for key in _KEY.findall(text)]


@contextmanager
def pressed(descriptor: int) -> Iterator["asyncio.Queue[str]"]:
    """Keys as they come, without a line's end, and unseen; afterwards the terminal is as it was."""
    keys: asyncio.Queue[str] = asyncio.Queue()
    before = termios.tcgetattr(descriptor)
    loop = asyncio.get_running_loop()

    def read() -> None:
        found = os.read(descriptor, 1024)
        if not found:  # the terminal is gone
            loop.remove_reader(descriptor)
        for name in names_of(found.decode("utf-8", "replace")) or ["q"]:
            keys.put_nowait(name)

    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, read)
    try:
        yield keys
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
