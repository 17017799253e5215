# SPDX-License-Identifier: Apache-2.0
"""Suite *broker*: its parts one after the other, each on a mesh of its own. FAULTS_PARTS=groups,door chooses some."""

import logging
import os
import time
from collections.abc import Sequence

import structlog
from rich.console import Console

from nerv.errors import Misconfigured
from tests.faults.broker.door import run as door
from tests.faults.broker.groups import run as groups
from tests.faults.broker.pressure import run as pressure
from tests.faults.broker.publishing import run as publishing
from tests.faults.broker.reacting import run as reactions
from tests.faults.verdict import Invariant

PARTS = {
    "publishing": publishing.run,
    "pressure": pressure.run,
    "door": door.run,
    "groups": groups.run,
    "reactions": reactions.run,
}


async def run(scale: float, console: Console) -> Sequence[Invariant]:
    """All parts, or those that are asked for; `scale` shrinks each. Raises Misconfigured for a part that is none."""
    wanted = [name for name in os.environ.get("FAULTS_PARTS", "").split(",") if name] or list(PARTS)
    if unknown := [name for name in wanted if name not in PARTS]:
        raise Misconfigured(f"suite broker has no part {', '.join(unknown)}; FAULTS_PARTS may name {', '.join(PARTS)}")
    # Thousands of warnings are what this is about.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    found: list[Invariant] = []
    for name in wanted:
        began = time.monotonic()
        found += await PARTS[name](scale, console)
        console.print(f"{name}: {time.monotonic() - began:.0f} s", highlight=False)
    return found
