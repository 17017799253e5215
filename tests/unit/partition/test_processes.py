# SPDX-License-Identifier: Apache-2.0
"""Worker processes: they die, they cannot take everything, and none is left behind."""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from nerv.errors import Internal, Invalid, Misconfigured
from nerv.partition import QuantumPartitioner, Unit
from tests.faults.core import partition_units as work

ROOT = Path(__file__).parent.parent.parent.parent
PATIENCE = 20.0  # seconds for what happens in hundredths on a machine that has time


def ours() -> list[Any]:
    """The worker processes that there are."""
    return [child for child in multiprocessing.active_children() if child.name == "nerv-partition"]


class Awkward(Exception):
    """Pickles, and cannot be unpickled."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def awkward() -> None:
    """Raises one."""
    raise Awkward(1, 2)


def unpicklable() -> Any:
    """What no process can send back."""
    return threading.Lock()


class Trap:
    """Pickles as something that fails to unpickle."""

    def __reduce__(self) -> Any:
        return (int, ("no number",))


def trap() -> Trap:
    """What no process can read back."""
    return Trap()


async def test_units_run_in_other_processes() -> None:
    """Two at most, and neither is this one; they are gone when the run is over."""
    record = await QuantumPartitioner("processes", workers=(2, 2)).run([Unit(str(n), work.pid) for n in range(20)])
    pids = set(record.check().results.values())
    assert os.getpid() not in pids
    assert 1 <= len(pids) <= 2
    assert ours() == []


async def test_processes_are_kept_between_runs_within_a_block() -> None:
    """The second run finds the first one's process; after the block it is gone."""
    async with QuantumPartitioner("processes", workers=(1, 1)) as partitioner:
        pids = {(await partitioner.run([Unit("u", work.pid)]))["u"] for _ in range(3)}
        assert len(pids) == 1
        assert len(ours()) == 1
    assert ours() == []


async def test_a_process_that_was_killed_while_it_waited_is_replaced() -> None:
    """The next run neither fails nor counts the death as that of a unit."""
    with QuantumPartitioner("processes", workers=(1, 1)) as partitioner:
        first = (await partitioner.run([Unit("u", work.pid)]))["u"]
        [child] = ours()
        os.kill(first, signal.SIGKILL)
        child.join(PATIENCE)
        record = await partitioner.run([Unit("u", work.pid)])
        assert record["u"] != first
        assert record.counters["lost"] == 0


async def test_a_unit_whose_process_died_runs_once_more(tmp_path: Path) -> None:
    """It ends in another process, and both the death and the repetition are counted."""
    unit = Unit("u", partial(work.die_once, str(tmp_path / "marker")))
    record = await QuantumPartitioner("processes").run([unit, Unit("after", work.add, ("u",))])
    assert record.check()["after"] == 1 + record["u"]
    assert (record.counters["lost"], record.counters["again"]) == (1, 1)


async def test_a_unit_with_effects_is_not_repeated(tmp_path: Path) -> None:
    """With lost="unknown" a unit whose process died is unknown at once."""
    unit = Unit("u", partial(work.die_once, str(tmp_path / "marker")))
    record = await QuantumPartitioner("processes", lost="unknown").run([unit])
    assert record.unknown == ("u",)
    assert record.counters["again"] == 0


async def test_a_unit_that_kills_every_process_harms_no_other() -> None:
    """It is unknown after its second death; all others end, those that shared its hop included."""
    units = [Unit(f"u{number}", work.add, group="all") for number in range(30)]
    units.insert(15, Unit("killer", work.die, group="all"))
    record = await QuantumPartitioner("processes", workers=(1, 2), on_error="continue").run(units)
    assert record.unknown == ("killer",)
    assert "died" in str(record.failures["killer"])
    assert len(record.results) == 30
    assert record.counters["lost"] == 2


@pytest.mark.parametrize(
    ("function", "error"), [(unpicklable, TypeError), (trap, Invalid), (awkward, Internal), (lambda: 1, Misconfigured)]
)
async def test_what_cannot_cross_fails_alone(function: Any, error: type[Exception]) -> None:
    """A function, a result or an error that cannot be pickled is its unit's failure; the others end."""
    units = [Unit("odd", function), *(Unit(str(number), work.add) for number in range(5))]
    record = await QuantumPartitioner("processes", on_error="continue").run(units)
    assert isinstance(record.failures["odd"], error)
    assert len(record.results) == 5


async def test_an_error_says_where_it_was_raised() -> None:
    """The trace of the other process is a note on the error."""
    record = await QuantumPartitioner("processes").run([Unit("bad", work.boom)])
    assert any("partition_units.py" in note for note in record.failures["bad"].__notes__)


async def test_no_process_is_forked_from_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process has threads, whose locks a fork would copy: os.fork is never called here."""

    def refuse() -> int:
        raise AssertionError("forked")

    monkeypatch.setattr(os, "fork", refuse)
    assert (await QuantumPartitioner("processes").run([Unit("u", work.add)])).ok


UNGUARDED = """
import os
from nerv.partition import QuantumPartitioner, Unit
QuantumPartitioner("processes").run_sync([Unit("u", os.getpid)])
"""

HANGING = """
import os, sys
from nerv.partition import QuantumPartitioner, Unit
from tests.faults.core.partition_units import hang, tell
if __name__ == "__main__":
    QuantumPartitioner("processes").run_sync([Unit("pid", tell), Unit("hangs", hang, ("pid",))])
"""


def test_a_program_that_is_not_guarded_is_told_so(tmp_path: Path) -> None:
    """Its processes would start the program again; the run ends with what to write."""
    script = tmp_path / "unguarded.py"
    script.write_text(UNGUARDED)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "Misconfigured" in done.stderr
    assert "__name__ == '__main__'" in done.stderr


def test_processes_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    """Even one whose unit hangs: nobody else would end it."""
    script = tmp_path / "hanging.py"
    script.write_text(HANGING)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        worker.wait(PATIENCE)
    assert not worker.is_running()


def fork_server() -> psutil.Process:
    """The one of this process."""
    [found] = [
        one
        for one in psutil.Process().children()
        if one.status() != psutil.STATUS_ZOMBIE and "forkserver" in " ".join(one.cmdline())
    ]
    return found


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what no event tells of."""
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - another process tells nobody
            await asyncio.sleep(0.01)


async def test_the_death_of_the_fork_server_is_survived() -> None:
    """Multiprocessing then believes its processes dead; a unit that hangs in one still ends, and so does the process."""
    async with QuantumPartitioner("processes", workers=(1, 1), on_error="continue") as partitioner:
        first = psutil.Process((await partitioner.run([Unit("u", work.pid)]))["u"])
        server = fork_server()
        server.kill()
        await until(lambda: server.status() == psutil.STATUS_ZOMBIE)
        units = [Unit("hangs", work.hang, timeout=0.02), Unit("good", work.add)]
        record = await asyncio.wait_for(partitioner.run(units), PATIENCE)
        assert record.unknown == ("hangs",)
        assert record["good"] == 1
        first.wait(PATIENCE)
    assert ours() == []


async def test_the_fork_server_may_die_while_a_unit_runs(tmp_path: Path) -> None:
    """The process that ran the unit is ended, for nobody would tell of its end, and the unit runs once more."""
    marker = tmp_path / "pid"
    partitioner = QuantumPartitioner("processes", workers=(1, 1))
    task = asyncio.create_task(partitioner.run([Unit("u", partial(work.hang_once, str(marker)))]))
    await until(lambda: marker.exists() and bool(marker.read_text()))
    worker = psutil.Process(int(marker.read_text()))
    fork_server().kill()
    record = await asyncio.wait_for(task, PATIENCE)
    assert record.check()["u"] != worker.pid
    assert (record.counters["lost"], record.counters["again"]) == (1, 1)
    worker.wait(PATIENCE)
