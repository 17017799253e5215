# SPDX-License-Identifier: Apache-2.0
"""Start a mesh, do the job, say whether it passed."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from rich.console import Console
from rich.rule import Rule

import nerv
from flights.data import data_folder
from flights.demo import loading, looking, reporting, syncing, travelling
from flights.demo.job import Job
from flights.demo.together import together
from flights.demo.tracing import Tracing, traced
from flights.demo.working_copy import copy_registers
from flights.reference import count_flights
from flights.sources import VARIABLE
from nerv.dev.mesh import LocalMesh
from nerv.errors import Unavailable

Step = Callable[[Job], Awaitable[None]]

STEPS: tuple[tuple[str, Step], ...] = (
    ("1  sync: planes, airlines and airports into streams", syncing.sync_registers),
    ("2  broker and temporal: flights in time order, one stream an aircraft", loading.load),
    ("3  projector: what the views show, against the file", looking.look),
    ("4  scheduler: the monthly report", reporting.report),
    ("5  time travel", travelling.travel),
)

NEXT = (
    "state aircraft-N14228 --as-of 2013-01-15T12:00:00Z",
    "view airports JFK --perspective passenger",
    "workflow start monthly-report",
)


async def run_demo(months: range, days: range, folder: Path, screen: Console) -> int:
    """The whole demo in `folder` (an absolute path); returns the exit code. Raises NervError when it cannot go on."""
    data = data_folder()
    copy = folder / "demo"
    copy_registers(data, copy)
    begun = time.monotonic()
    async with traced() as tracing:
        died: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        mesh = LocalMesh(
            app="flights:app",
            folder=folder,
            env={VARIABLE: str(copy)},
            on_phase=lambda text: screen.print(f"  {text}", style="dim"),
            on_died=lambda complaint: None if died.done() else died.set_result(complaint),
        )
        async with mesh:
            screen.print(f"the mesh is up after {time.monotonic() - begun:.1f} s")
            urls = {name: entry["url"] for name, entry in mesh.context["services"].items()}
            async with nerv.Client(urls) as client:
                job = Job(client, screen, data, copy, months, days)
                async with together() as group:
                    watchers = [group.create_task(mesh.wait()), group.create_task(_raise(died))]
                    await _run_steps(job, tracing)
                    for watcher in watchers:
                        watcher.cancel()
            screen.print(f"all of it took {time.monotonic() - begun:.1f} s", style="dim")
            passed = verdict(job)
            if passed and screen.is_terminal:
                await _stay(mesh, screen)
    return 0 if passed else 1


async def _raise(died: asyncio.Future[str]) -> None:
    """A service that dies ends the demo at once: what it was to do would be waited for in vain."""
    raise Unavailable(await died)


async def _run_steps(job: Job, tracing: Tracing) -> None:
    with tracing.root("demo"):
        job.reference = await asyncio.to_thread(count_flights, job.archive, job.months, job.days)
        for title, step in STEPS:
            job.screen.print(Rule(title, align="left"))
            begun = time.monotonic()
            await step(job)
            job.screen.print(f"  {time.monotonic() - begun:.1f} s", style="dim")
    await tracing.check(job)


def verdict(job: Job) -> bool:
    """Say what came of it."""
    columns = ("hop", "events", "seconds", "events a second")
    rows = [(hop.name, hop.done, f"{hop.seconds:.1f}", f"{hop.rate:,.0f}") for hop in job.hops]
    job.table("hops", columns, rows, numbers=3)
    if not job.problems:
        job.screen.print("demo passed", style="bold green")
        return True
    job.screen.print("demo failed:", style="bold red")
    for problem in job.problems:
        job.screen.print(f"  {problem}", markup=False, highlight=False)
    return False


def _nerv() -> str:
    """How the command `nerv` of this environment is called from here."""
    # Under make this environment is on the path; in another terminal it may not be.
    ours, here = Path(sys.executable).with_name("nerv"), Path.cwd()
    return str(ours.relative_to(here)) if ours.is_relative_to(here) else str(ours)


async def _stay(mesh: LocalMesh, screen: Console) -> None:
    """Leave the mesh up until Ctrl-C, which is how it should end. Raises Unavailable when Kafka or Redis ends before."""
    screen.print("\nThe mesh stays up until Ctrl-C. Try next, in another terminal, in this folder:")
    for command in NEXT:
        screen.print(f"  {_nerv()} {command}", style="bold", highlight=False)
    try:
        await mesh.wait()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        screen.print("stopping")
