# SPDX-License-Identifier: Apache-2.0
"""Follow the log files of a folder, and make one readable line of what a service logs as JSON."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

POLL_SECONDS = 0.1
READ_BYTES = 256 * 1024  # of one file at a time, so that a chatty process does not hide the others
HIDDEN = ("event", "level", "timestamp", "service", "instance", "exception")

Emit = Callable[[str, str], None]
"""Called with the name of a process and one line."""


class Follower:
    """What is added to `*.log` in a folder, line by line. A file that appears later is read from its beginning."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._positions: dict[Path, int] = {}
        self._rest: dict[Path, bytes] = {}

    def skip(self) -> None:
        """Pass over what the files hold now."""
        self._positions = {path: path.stat().st_size for path in self._folder.glob("*.log")}

    def lines(self) -> Iterator[tuple[str, str]]:
        """What was added since the last call, as (name, line)."""
        for path in sorted(self._folder.glob("*.log")):
            for line in self._read(path):
                yield path.stem, line

    async def run(self, emit: Emit) -> None:
        """Follow until cancelled."""
        while True:
            for name, line in self.lines():
                emit(name, line)
            await asyncio.sleep(POLL_SECONDS)

    def _read(self, path: Path) -> list[str]:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            position = self._positions.get(path, 0)
            if size < position:  # it was begun anew
                position, self._rest[path] = 0, b""
            file.seek(position)
            added = file.read(READ_BYTES)
            self._positions[path] = position + len(added)
        *whole, rest = (self._rest.get(path, b"") + added).split(b"\n")
        self._rest[path] = rest[-READ_BYTES:]
        return [line.decode(errors="replace").rstrip("\r") for line in whole]


def readable(line: str) -> str:
    """`12:00:01 info started url=http://...` of a JSON line; any other line as it is."""
    if not line.startswith("{"):
        return line
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    if not isinstance(entry, dict) or "event" not in entry:
        return line
    head = [str(entry.get("timestamp", ""))[11:19], str(entry.get("level", "")), str(entry["event"])]
    rest = [f"{key}={value}" for key, value in entry.items() if key not in HIDDEN]
    text = " ".join(part for part in (*head, *rest) if part)
    return f"{text}\n{entry['exception']}" if "exception" in entry else text
