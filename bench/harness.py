# SPDX-License-Identifier: Apache-2.0
"""What every suite shares: contestants as processes that take turns, medians, servers of their own, progress."""

import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from nerv.dev import kafka, redis
from nerv.dev.guard import guard, mark
from nerv.dev.ports import Ports
from nerv.dev.processes import stop_together
from nerv.errors import Misconfigured

ROUNDS = 5
TURN_SECONDS = 300.0  # no turn of a contestant may take longer
ERROR_LINES = 40
PROGRESS = "progress "  # with this begins a line on standard error that is for whoever watches
HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure, more is better. `goal` is the ratio of ours to the peer's that we want."""

    name: str
    ours: float
    peer: float
    goal: float


@dataclass(frozen=True, slots=True)
class Measured:
    """One measured figure that is held against a fixed bound, or, without one, only shown."""

    name: str
    value: float
    unit: str
    most: float | None = None
    least: float | None = None


@dataclass(frozen=True, slots=True)
class Contestant:
    """A program that measures itself: the last line on standard output is its figure, or its figures."""

    name: str
    command: Sequence[str]
    seconds: float = TURN_SECONDS

    def turn(self) -> float:
        """Run it once. Raises Misconfigured with what it said when it fails."""
        return self.figures()[-1]

    def figures(self, say: Callable[[str], None] = lambda text: None) -> list[float]:
        """The same with all figures of its last line; `say` is told what it says of its progress."""
        running = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=HERE.parent
        )
        errors = deque[str](maxlen=ERROR_LINES)
        listening = threading.Thread(target=_listen, args=(running.stderr, errors, say), daemon=True)
        listening.start()
        late = threading.Timer(self.seconds, running.kill)
        late.start()
        with running:
            output = running.stdout.read() if running.stdout is not None else ""
        listening.join()
        if not late.is_alive():
            raise Misconfigured(f"{self.name} was not done within {self.seconds:g} s")
        late.cancel()
        if running.returncode != 0:
            raise Misconfigured(f"{self.name} failed:\n{''.join(errors)[-2000:]}")
        return [float(word) for word in output.splitlines()[-1].split()]


def _listen(lines: Iterable[str], errors: deque[str], say: Callable[[str], None]) -> None:
    for line in lines:
        if line.startswith(PROGRESS):
            say(line.removeprefix(PROGRESS).rstrip())
        else:
            errors.append(line)


def scale(environment: Mapping[str, str]) -> float:
    """The fraction of the full size that SCALE asks for. Raises Misconfigured."""
    text = environment.get("SCALE") or "1"
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 < found <= 1:
        raise Misconfigured(f"SCALE must be a fraction such as 0.1, or 1 for the full size, not {text!r}")
    return found


def interleave(contestants: Sequence[Contestant], title: str, console: Console, rounds: int = ROUNDS) -> list[float]:
    """The median of five turns of each (or `rounds`), taken in turns so that the machine's moods fall on all alike.

    A first round that does not count warms caches and the broker.
    """
    return [figures[-1] for figures in interleave_all(contestants, title, console, rounds)]


def interleave_all(
    contestants: Sequence[Contestant], title: str, console: Console, rounds: int = ROUNDS
) -> list[list[float]]:
    """The same where a contestant has several figures: the median of each."""
    turns: list[list[list[float]]] = [[] for _ in contestants]
    with progress(console) as bar:
        task = bar.add_task(title, total=(rounds + 1) * len(contestants))
        for number in range(rounds + 1):
            order = list(enumerate(contestants))
            for index, contestant in order if number % 2 else reversed(order):
                figures = contestant.figures()
                if number:
                    turns[index].append(figures)
                bar.update(task, advance=1, description=f"{title}: {contestant.name} {figures[-1]:,.0f}")
    return [[statistics.median(column) for column in zip(*found, strict=True)] for found in turns]


def progress(console: Console) -> Progress:
    """A bar that shows what is done of how much."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )


def peer_python(name: str, requirements: Path) -> str:
    """The interpreter of a peer's own virtual environment under bench/.peers, made when its pins change."""
    folder = HERE / ".peers" / name
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    stamp = folder / "pins.sha256"
    if not stamp.exists() or stamp.read_text() != digest:
        uv = Path(sys.executable).with_name("uv")
        _checked([str(uv), "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
        _checked(
            [str(uv), "pip", "install", "--quiet", "--require-hashes", "--python", str(folder / "bin" / "python"),
             "-r", str(requirements)]
        )  # fmt: skip
        stamp.write_text(digest)
    return str(folder / "bin" / "python")


def _checked(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Misconfigured(f"{command[0]} failed:\n{done.stderr[-2000:]}")


@contextmanager
def kafka_for_measuring(say: Callable[[str], None]) -> Iterator[str]:
    """A Kafka of its own, with the memory and the collector of a real broker; its data is removed afterwards."""
    token = uuid.uuid4().hex[:12]
    say("starting Kafka")
    with tempfile.TemporaryDirectory(prefix="nerv-bench-") as name, guard(token):
        folder = Path(name)
        server = kafka.start(
            folder / "kafka", mark(os.environ, token), log=folder / "kafka.log", ports=Ports(folder), mode="bench"
        )
        try:
            yield server.address
        except Misconfigured:
            last = server.process.tail() if server.process is not None else []
            say("\n".join(["Kafka said last:", *last]))  # it may be why somebody failed
            raise
        finally:
            if server.process is not None:
                stop_together([server.process], 10.0)


@contextmanager
def redis_for_measuring() -> Iterator[str]:
    """A Redis of its own, by its URL; its data is removed afterwards."""
    token = uuid.uuid4().hex[:12]
    with tempfile.TemporaryDirectory(prefix="nerv-bench-") as name, guard(token):
        folder = Path(name)
        server = redis.start(folder, mark(os.environ, token), log=folder / "redis.log", ports=Ports(folder))
        try:
            yield server.address
        finally:
            if server.process is not None:
                stop_together([server.process], 10.0)
