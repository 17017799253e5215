# SPDX-License-Identifier: Apache-2.0
"""The first steps as docs/first-steps.md tells them: a fresh home, our wheels and a registry, and all that is to be typed."""

import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.processes import environment, heed_ctrl_c, marked

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "first-steps.md"
SECONDS = 900.0  # for all of it, so that a slow machine or registry fails no test; what it took is printed
# Where this machine says which registries it uses; the fresh home has that, and nothing else.
REGISTRIES = (".config/pip/pip.conf", ".pip/pip.conf", ".config/jgo.conf", ".jgorc")
# What shows views and histories, which follow a moment after what was sent.
FOLLOWING = ("nerv view ", "nerv state ", "nerv history ", "nerv trace ", "nerv why ")
ENDED = "ended with"  # what the shell says behind each command

pytestmark = pytest.mark.timeout(SECONDS + 120)


class Typed(NamedTuple):
    """A command and what it prints: `…` is anything, between words also one space, and on a line of its own any lines."""

    command: str
    printed: str

    def shown_by(self, output: str) -> bool:
        """Whether this is what the page shows."""
        lines = (
            r"(?:.*\n)*?"
            if line == "…"
            else re.escape(line).replace(r"\ …\ ", r"\ (?:.*\ )?").replace("…", ".*") + r"\n"
            for line in self.printed.splitlines()
        )
        return re.fullmatch("".join(lines), output) is not None


class Written(NamedTuple):
    """A file of the app."""

    path: str
    text: str


def steps(page: str) -> Iterator[Typed | Written]:
    """What the page says to type and to write, in its order."""
    blocks = r"`([\w./]+)`:\n\n```python\n(.*?)^```|^```console\n(.*?)^```"
    for path, code, console in re.findall(blocks, page, re.S | re.M):
        if path:
            yield Written(path, code)
        for typed in re.split(r"^\$ ", console, flags=re.M)[1:]:
            command, _, printed = typed.partition("\n")
            yield Typed(command, printed)


class Shell:
    """A terminal: commands one after the other, in one environment and one folder."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.env = env
        self._bash = subprocess.Popen(
            ["bash"], cwd=folder, env=env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def type(self, command: str) -> tuple[int, str]:
        """Run a command to its end; its exit code and what it printed."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f"{{ {command}\n}} </dev/null; printf '\\n{ENDED} %s\\n' $?\n")
        self._bash.stdin.flush()
        lines: list[str] = []
        for line in self._bash.stdout:
            if line.startswith(ENDED):
                return int(line.removeprefix(ENDED)), "".join(lines)[:-1]
            lines.append(f"{line.rstrip()}\n")
        raise AssertionError(f"the shell has ended: {command}\n{''.join(lines)}")

    def ask(self, command: str) -> str:
        """One line that a command prints."""
        return self.type(command)[1].strip()

    def close(self) -> None:
        """End the shell."""
        self._bash.kill()
        self._bash.communicate(timeout=60)


class Newcomer:
    """Somebody with two terminals who does what a page says."""

    def __init__(self, shell: Shell, output: Path) -> None:
        self.shell = shell
        self.dev: subprocess.Popen[bytes] | None = None
        self._output = output  # of the first terminal, in which the mesh runs
        self._deadline = time.monotonic() + SECONDS
        self._changed: int | None = None  # where its output stood when a file of the app was written

    def follow(self, step: Typed | Written) -> None:
        """Do what is to be done."""
        if isinstance(step, Written):
            self._changed = self._output.stat().st_size
            (Path(self.shell.ask("pwd")) / step.path).write_text(step.text, encoding="utf-8")
        elif step.command.startswith("nerv dev"):
            self._start(step)
        else:
            if self._changed is not None:
                self._wait("reloaded", self._changed)
                self._changed = None
            self._compare(step)

    def _compare(self, step: Typed) -> None:
        while True:
            code, output = self.shell.type(step.command)
            if step.shown_by(output):
                return
            said = f"{step.command}\nended with {code} and printed\n{output}\ninstead of\n{step.printed}"
            assert step.command.startswith(FOLLOWING), said
            assert time.monotonic() < self._deadline, said

    def _start(self, step: Typed) -> None:
        env = self.shell.env | {"PATH": self.shell.ask("echo $PATH")}
        with self._output.open("wb") as out:
            self.dev = subprocess.Popen(
                step.command.split(),
                cwd=self.shell.ask("pwd"), env=env, stdout=out, stderr=subprocess.STDOUT, preexec_fn=heed_ctrl_c,
            )  # fmt: skip
        self._wait(step.printed.splitlines()[-1], 0)

    def _wait(self, said: str, place: int) -> None:
        assert self.dev is not None
        while said not in (text := self._output.read_text(errors="replace"))[place:]:
            assert self.dev.poll() is None, text
            assert time.monotonic() < self._deadline, text
            time.sleep(0.1)


def clone(folder: Path) -> Path:
    """The repository as somebody else has it: all but what is made in it."""
    folder.mkdir()
    for entry in ROOT.iterdir():
        if entry.name not in (".git", ".nerv", "dist"):
            (folder / entry.name).symlink_to(entry)
    return folder


def fresh_home(folder: Path) -> Path:
    """A home that knows the registries of this machine, and nothing else."""
    folder.mkdir()
    for name in REGISTRIES:
        if (Path.home() / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path.home() / name, folder / name)
    return folder


def newcomers_environment(folder: Path, mark: str) -> dict[str, str]:
    """What programs find: a home, and a Python that has none of our packages."""
    base = environment(mark)
    for name in ("VIRTUAL_ENV", "PYTHONPATH", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "COLUMNS"):
        base.pop(name, None)
    python = folder / "bin" / "python3"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {Path(sys.executable).resolve()} "$@"\n')
    python.chmod(0o755)
    paths = [path for path in base["PATH"].split(":") if Path(path) != Path(sys.executable).parent]
    return base | {"PATH": ":".join([str(python.parent), *paths]), "HOME": str(fresh_home(folder / "home"))}


@contextmanager
def newcomer(folder: Path, mark: str) -> Iterator[Newcomer]:
    """At a new machine, in the folder that they have cloned. What they leave running is killed."""
    shell = Shell(clone(folder / "clone"), newcomers_environment(folder, mark))
    me = Newcomer(shell, folder / "dev.out")
    try:
        yield me
    finally:
        shell.close()
        if me.dev is not None and me.dev.poll() is None:
            me.dev.kill()  # its guard ends the rest
            me.dev.wait(60)


def test_a_newcomer_gets_to_an_app_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All that the page says can be done and comes out as it says; so does what the new app's README says; Ctrl-C ends it all."""
    mark = uuid.uuid4().hex
    began, laps = time.monotonic(), {}
    with newcomer(tmp_path, mark) as me:
        for step in steps(PAGE.read_text(encoding="utf-8")):
            me.follow(step)
            if isinstance(step, Typed) and step.command.startswith(("pip", "pytest", "nerv dev", "nerv workflow")):
                laps[step.command.partition(" --")[0]] = round(time.monotonic() - began, 1)
        [told, *_] = re.findall(
            r"^```console\n(nerv publish.*?)^```", Path(me.shell.ask("pwd"), "README.md").read_text(), re.S | re.M
        )
        for command in [*told.splitlines(), "python -m shop.cancel o1"]:
            code, output = me.shell.type(command)
            assert code == 0, f"{command}\n{output}"
        assert me.dev is not None
        me.dev.send_signal(signal.SIGINT)
        assert me.dev.wait(60) == 0
    assert marked(mark) == []
    with capsys.disabled():
        sys.stderr.write(f"\nfirst steps, seconds: {laps}\n")


def test_the_page_is_compared_line_by_line() -> None:
    """Three dots stand for what differs, and all else must be there."""
    step = Typed("date", "it is … o'clock\n…\nbye\n")
    assert step.shown_by("it is nine o'clock\nand raining\nindeed\nbye\n")
    assert step.shown_by("it is nine o'clock\nbye\n")
    assert not step.shown_by("it is nine o'clock\nbye\nnow\n")
    assert not step.shown_by("it was nine o'clock\nbye\n")
