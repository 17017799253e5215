# SPDX-License-Identifier: Apache-2.0
"""The demo on one day of flights: the whole mesh as its users start it, from nothing to `demo passed`."""

import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.processes import environment, heed_ctrl_c, marked
from tests.e2e.scraping import scraped

SECONDS = 240.0  # it takes 30 on two idle cores

# One of a shared Kafka's would hold the flights of other tests: the demo's topics are the app's, without a mesh's prefix.
pytestmark = pytest.mark.timeout(SECONDS + 60)


@contextmanager
def demo(folder: Path, mark: str, *arguments: str, screen: int = subprocess.PIPE) -> Iterator["subprocess.Popen[str]"]:
    """The running demo, its output on a pipe or on this terminal; ended with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flights.demo", *arguments],
        cwd=folder,
        env=environment(mark) | {"TERM": "dumb", "COLUMNS": "120", "LINES": "40"},
        stdout=screen,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=heed_ctrl_c,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)  # its guard ends the rest
        process.communicate(timeout=60)


def shown(terminal: int, until: str) -> str:
    """What is written to the terminal, up to this text; or all of it, where its writers end before."""
    text = ""
    while until not in text:
        try:
            text += os.read(terminal, 65_536).decode(errors="replace")
        except OSError:  # nobody has it open any more
            break
    return text


def test_the_demo_passes_on_one_day_and_leaves_nothing_running(tmp_path: Path) -> None:
    """Every total equals the file's, one trace has spans of all five services, exit 0, and no process is left."""
    mark = uuid.uuid4().hex
    with demo(tmp_path, mark, "--days", "1") as process:
        output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, output
    assert "demo passed" in output
    assert "649 aircraft, 89 airports, 14 carriers, 14 months; 0 differ" in output
    trace = re.search(r"trace [0-9a-f]{32}: spans of ([^|]*?)\n\S*all of it", output)
    assert trace is not None, output
    for service in ("broker", "temporal", "projector", "sync", "scheduler"):
        assert re.search(rf"{service} [\d,]+", trace[1]), output
    assert marked(mark) == []


def test_at_a_terminal_the_mesh_stays_up_until_ctrl_c(tmp_path: Path) -> None:
    """With what to try next; then it ends with exit 0 and leaves no process.

    Meanwhile the services emit every metric that is declared, and no other.
    """
    mark = uuid.uuid4().hex
    terminal, screen = os.openpty()
    with demo(tmp_path, mark, "--days", "1", screen=screen) as process:
        os.close(screen)
        with scraped(tmp_path / ".nerv/context.json") as seen:
            output = shown(terminal, until="workflow start")
        assert "demo passed" in output, output
        assert "workflow start" in output, output
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        output = shown(terminal, until="stopping")
        assert "stopping" in output, output
        assert process.wait(timeout=60) == 0, output
    os.close(terminal)
    assert marked(mark) == []
    assert seen.differences() == []


def test_wrong_arguments_start_nothing(tmp_path: Path) -> None:
    """A month that a year does not have is refused with exit 2, before anything runs."""
    mark = uuid.uuid4().hex
    with demo(tmp_path, mark, "--months", "13") as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "must be 1 to 12" in output
    assert list(tmp_path.iterdir()) == []
    assert marked(mark) == []
