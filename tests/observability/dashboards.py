# SPDX-License-Identifier: Apache-2.0
"""Every query of every dashboard, while the demo runs and every service is looked at: each must answer with numbers."""

import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from rich.console import Console

from flights.demo.reporting import WORKFLOW
from flights.demo.syncing import SOURCES
from nerv.cancelling import end
from tests.e2e.processes import environment
from tests.observability.prometheus import Prometheus, prometheus

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "deploy/grafana/dashboards"
DEMO_SECONDS = 600.0
DEMO_RUNS = 3  # of each register: a dry one, one for real, and one after some rows were changed
WINDOW = "10s"  # for Grafana's $__rate_interval: four scrapes, and more


class Asked(NamedTuple):
    """A query of a panel of a dashboard."""

    board: str
    panel: str
    expression: str


def queries() -> Iterator[Asked]:
    """All of them, as Grafana would ask them."""
    for path in sorted(FOLDER.glob("*.json")):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel["targets"]:
                yield Asked(path.stem, panel["title"], target["expr"].replace("$__rate_interval", WINDOW))


async def check(screen: Console, only: Sequence[str] = ("",)) -> int:
    """Run the demo under a Prometheus and ask the queries of boards with one of `only` in their names.

    0 when every query answers with numbers, else 1.
    """
    with tempfile.TemporaryDirectory(prefix="nerv-dashboards-") as name:
        async with prometheus(Path(name) / "prometheus") as found:
            began = time.time()
            if not await _demo(Path(name), found, screen):
                return 1
            return await _ask(
                found, began, [one for one in queries() if any(word in one.board for word in only)], screen
            )


async def _demo(folder: Path, found: Prometheus, screen: Console) -> bool:
    command = [sys.executable, "-m", "flights.demo", "--folder", str(folder / "mesh")]
    log = folder / "demo.log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, env=environment(uuid.uuid4().hex), stdout=out, stderr=subprocess.STDOUT
        )
    looking = asyncio.create_task(_look(folder / "mesh/context.json", found, screen))
    try:
        async with asyncio.timeout(DEMO_SECONDS):
            await process.wait()
    finally:
        await end(looking)
        if process.returncode is None:
            process.terminate()
            await process.wait()
    if process.returncode != 0:
        screen.print(log.read_text(encoding="utf-8"), markup=False)
    return process.returncode == 0


async def _look(context: Path, found: Prometheus, screen: Console) -> None:
    """Have the mesh scraped as soon as it is up, and ask each service what it is, once a second, as people's tools do.

    A report and a look at a register are ordered each time, too: the demo's own are done between two scrapes on a quick machine,
    and then have no rate.
    """
    while not (services := _services(context)):  # noqa: ASYNC110 - a file rings no bell
        await asyncio.sleep(0.2)
    found.targets({name: entry["health"] for name, entry in services.items()})
    screen.print(f"Prometheus scrapes {', '.join(services)}")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        while True:
            for entry in services.values():
                with suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(f"{entry['url']}/.well-known/nerv") as answer:
                        await answer.read()
            with suppress(aiohttp.ClientError, TimeoutError):
                async with session.post(f"{services['scheduler']['url']}/v1/workflows/{WORKFLOW}/runs") as answer:
                    await answer.read()
            await _compare(session, services["sync"]["url"])
            await asyncio.sleep(1)


async def _compare(session: aiohttp.ClientSession, sync: str) -> None:
    """Once the demo has done its own runs, with which this would collide."""
    runs = f"{sync}/v1/syncs/{SOURCES[-1]}/runs"
    with suppress(aiohttp.ClientError, TimeoutError):
        async with session.get(runs) as answer:
            done = (await answer.json()).get("runs", ())
        if len(done) >= DEMO_RUNS:
            async with session.post(runs, json={"dry_run": True}) as answer:
                await answer.read()


def _services(context: Path) -> Mapping[str, Mapping[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    if context.exists():
        found = json.loads(context.read_text(encoding="utf-8"))["services"]
    return found


async def _ask(found: Prometheus, began: float, wanted: Sequence[Asked], screen: Console) -> int:
    ended = time.time()
    empty = [one for one in wanted if not await found.range(one.expression, began, ended)]
    for asked in empty:
        screen.print(f"no data: {asked.board}, {asked.panel}: {asked.expression}", style="red", markup=False)
    boards = len({one.board for one in wanted})
    screen.print(f"{len(wanted) - len(empty)} of {len(wanted)} queries of {boards} dashboards answer with numbers")
    return 1 if empty else 0


def names(expression: str) -> set[str]:
    """The names of metrics in a query: what stands before a selector, a range, or a bracket that is no call."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"", " ", expression)
    bare = re.sub(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    words = re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?!\s*\()\b", bare)
    return {word for word in words if "_" in word}
