# SPDX-License-Identifier: Apache-2.0
"""Every alert rule, tried by making its fault happen: the alert fires, and once the fault is mended it is over."""

import asyncio
import subprocess
import tempfile
import time
from collections.abc import Sequence, Set
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from tests.observability import shortened
from tests.observability.binaries import find
from tests.observability.faults import FAULTS, Fault
from tests.observability.prometheus import Prometheus, prometheus
from tests.observability.stage import Stage, staged

FIRE_SECONDS, CLEAR_SECONDS = 120.0, 180.0
LOOK_SECONDS = 0.5
UNIT_TESTS = shortened.RULES.with_name("alerts.test.yml")


class Tried(NamedTuple):
    """What came of a fault: how long it took to fire, and to clear; what did not."""

    fault: Fault
    fired: float
    cleared: float
    complaint: str


async def check(screen: Console, only: Sequence[str] = ("",)) -> int:
    """promtool's own checks, then the faults with one of `only` in their names; 0 where every alert fired and cleared, else 1."""
    if not await asyncio.to_thread(_promtool, screen):
        return 1
    with tempfile.TemporaryDirectory(prefix="nerv-alerts-") as name:
        folder = Path(name)
        shortened.write(folder / "alerts.yml")
        async with prometheus(folder / "prometheus", folder / "alerts.yml") as found, staged(folder) as stage:
            found.targets({name: entry["health"] for name, entry in stage.mesh.context["services"].items()})
            await asyncio.sleep(float(shortened.WINDOW.removesuffix("s")))  # rates look back so far
            wanted = [fault for fault in FAULTS if any(word in fault.name for word in only)]
            tried = [await _try(fault, stage, found, screen) for fault in wanted]
    return _verdict(tried, screen)


def _promtool(screen: Console) -> bool:
    promtool = find().promtool
    config = shortened.RULES.with_name("prometheus.yml")
    for words in (["check", "config", str(config)], ["test", "rules", str(UNIT_TESTS)]):
        told = subprocess.run([promtool, *words], capture_output=True, text=True, timeout=60, check=False)
        if told.returncode != 0:
            screen.print(told.stdout + told.stderr, style="red", markup=False)
            return False
    screen.print(
        f"promtool: {len(shortened.names())} rules and the configuration are good, and so are the tests of rules"
    )
    return True


async def _try(fault: Fault, stage: Stage, found: Prometheus, screen: Console) -> Tried:
    wanted = set(fault.alerts)
    early = await _cleared(found, wanted)  # else what another fault has made fire would be taken for what this one does
    began = time.monotonic()
    async with fault.make(stage):
        missing = await _fired(found, wanted)
        fired = time.monotonic() - began
    began = time.monotonic()
    left = await _cleared(found, wanted)
    cleared = time.monotonic() - began
    bad = [f"{one} fired before" for one in sorted(early)]
    bad += [f"{one} did not fire" for one in sorted(missing)] + [f"{one} did not clear" for one in sorted(left)]
    complaint = ", ".join(bad)
    told = complaint or ", ".join(fault.alerts)
    screen.print(f"{fault.name}: {told}; fired after {fired:.0f} s, cleared after {cleared:.0f} s", markup=False)
    return Tried(fault, fired, cleared, complaint)


async def _fired(found: Prometheus, wanted: Set[str]) -> Set[str]:
    """Wait until each of these has fired; those that have not when time is up."""
    deadline, missing = time.monotonic() + FIRE_SECONDS, set(wanted)
    while missing and time.monotonic() < deadline:
        missing -= await _firing(found)
        await asyncio.sleep(LOOK_SECONDS)
    return missing


async def _cleared(found: Prometheus, wanted: Set[str]) -> Set[str]:
    """Wait until none of these fires; those that still do when time is up."""
    deadline = time.monotonic() + CLEAR_SECONDS
    while True:
        firing = wanted & await _firing(found)
        if not firing or time.monotonic() > deadline:
            return firing
        await asyncio.sleep(LOOK_SECONDS)


async def _firing(found: Prometheus) -> set[str]:
    return {alert.name for alert in await found.alerts() if alert.state == "firing"}


def _verdict(tried: list[Tried], screen: Console) -> int:
    table = Table("fault", "alerts", "fired after", "cleared after", "")
    for one in tried:
        alerts = ", ".join(one.fault.alerts)
        table.add_row(
            one.fault.name, alerts, f"{one.fired:.0f} s", f"{one.cleared:.0f} s", one.complaint or "as it should"
        )
    screen.print(table)
    untried = sorted(set(shortened.names()) - {name for fault in FAULTS for name in fault.alerts})
    if untried:
        screen.print(f"no fault is made for {', '.join(untried)}", style="red")
    return 1 if untried or any(one.complaint for one in tried) else 0
