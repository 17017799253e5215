# SPDX-License-Identifier: Apache-2.0
"""The command `nerv dev`."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Coroutine, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.status import Status

from nerv.dev.logs import Follower
from nerv.dev.mesh import LocalMesh
from nerv.dev.plan import SERVICES, is_insecure
from nerv.dev.reloading import app_files, reload_on_change
from nerv.dev.table import log_line, mesh_table
from nerv.errors import Misconfigured, NervError
from nerv.telemetry.sampling import SAMPLER


def dev(
    app: Annotated[str | None, typer.Option(help="The app, as package.module:attribute.", envvar="NERV_APP")] = None,
    services: Annotated[str, typer.Option(help="Which services, separated by commas.")] = ",".join(SERVICES),
    replicas: Annotated[
        list[str] | None, typer.Option(help="More than one process of a service: temporal=2. May be repeated.")
    ] = None,
    persist: Annotated[bool, typer.Option("--persist", help="Keep the data in .nerv/data from run to run.")] = False,
    reload: Annotated[bool, typer.Option("--reload", help="Restart the services when the app's files change.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document on standard output when ready; logs on standard error.")
    ] = False,
    folder: Annotated[Path, typer.Option(help="Where addresses, logs and data go.")] = Path(".nerv"),
) -> None:
    """Run Kafka, Redis and the services on this machine until Ctrl-C.

    KAFKA_BOOTSTRAP_SERVERS and REDIS_URL, when set, are used instead of servers of our own. A service that dies is named at
    once and the others go on; the exit code is then 1.
    """
    terminal = Terminal(as_json)
    try:
        mesh = LocalMesh(
            app=app,
            services=[name.strip() for name in services.split(",") if name.strip()],
            replicas=dict(_replicas(text) for text in replicas or ()),
            persist=persist,
            folder=folder,
            env=_recorded(os.environ),
            on_phase=terminal.phase,
            on_died=terminal.complain,
        )
        files = app_files(app) if reload else []
        code = asyncio.run(_run(mesh, files, terminal))
    except NervError as error:
        terminal.complain(str(error))
        code = 2 if isinstance(error, Misconfigured) else 1
    raise typer.Exit(code)


def _recorded(environment: Mapping[str, str]) -> Mapping[str, str]:
    """On a developer's machine every trace is recorded, unless OTEL_TRACES_SAMPLER says otherwise."""
    return {} if SAMPLER in environment else {SAMPLER: "parentbased_always_on"}


def _replicas(text: str) -> tuple[str, int]:
    service, _, count = text.partition("=")
    if not count.isdigit():
        raise typer.BadParameter(f"--replicas must look like temporal=2, not {text!r}")
    return service, int(count)


class Terminal:
    """Where the command writes. With `--json` standard output holds the one document and nothing else."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console(stderr=as_json, soft_wrap=True, highlight=False)
        self._status = Status("starting", console=self._console) if self._console.is_terminal else None

    def starting(self) -> Any:
        """A spinner while the block runs, on a terminal."""
        return self._status or nullcontext()

    def phase(self, text: str) -> None:
        """What is being done: one line that changes on a terminal, a line each elsewhere."""
        if self._status is not None:
            self._status.update(text)
        else:
            self.say(text)

    def say(self, text: str) -> None:
        """A line of our own."""
        self._console.print(text, markup=False, style="bold")

    def complain(self, text: str) -> None:
        """What went wrong, at once."""
        self._console.print(text, markup=False, style="bold red")

    def log(self, name: str, line: str) -> None:
        """A line of a process."""
        self._console.print(log_line(name, line))

    def ready(self, mesh: LocalMesh) -> None:
        """Where everything is."""
        if self._as_json:
            sys.stdout.write(json.dumps(mesh.context) + "\n")
            sys.stdout.flush()
            return
        self._console.print(mesh_table(mesh.context))
        if is_insecure(os.environ):
            self.say("Authentication is off (NERV_INSECURE_DEV=1): for this machine only.")
        self.say(f"Logs: {mesh.logs}. Ctrl-C stops everything.")


async def _run(mesh: LocalMesh, files: list[Path], terminal: Terminal) -> int:
    _stop_on_signals(mesh)
    follower = Follower(mesh.logs)
    try:
        with terminal.starting():
            await mesh.__aenter__()
        try:
            terminal.ready(mesh)
            follower.skip()
            jobs = [mesh.wait(), follower.run(terminal.log)]
            await _first(jobs + ([reload_on_change(mesh, files, terminal.say)] if files else []))
        finally:
            terminal.phase("stopping")
            await mesh.__aexit__(None, None, None)
            for name, line in follower.lines():
                terminal.log(name, line)
    except asyncio.CancelledError:
        terminal.say("stopped")
    return 1 if mesh.dead else 0


def _stop_on_signals(mesh: LocalMesh) -> None:
    """The first signal stops in order; from the second on nobody is waited for."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    asked: list[signal.Signals] = []

    def stop(number: signal.Signals) -> None:
        if asked:
            mesh.hurry()
        elif task is not None:
            task.cancel()
        asked.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup means: go on without a terminal
            loop.add_signal_handler(number, stop, number)


async def _first(jobs: list[Coroutine[Any, Any, None]]) -> None:
    """Until one of the jobs ends; the others are cancelled, and its error is ours."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
