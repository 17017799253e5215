# SPDX-License-Identifier: Apache-2.0
"""Suite *core*: Hypothesis looks for lives of the components that break what they promise."""

import asyncio
import logging

import structlog
from rich.console import Console

from tests.faults.core import bus, container, delta, effects, partition
from tests.faults.verdict import Invariant

PARTS = (delta, effects, bus, partition, container)


async def run(size: float, console: Console) -> list[Invariant]:
    """The verdicts on all parts; each says when it has ended."""
    # Subscribers fail by the thousand here, on purpose, and the bus tells the log of those that nobody else hears.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    found: list[Invariant] = []
    for part in PARTS:
        console.print(f"{part.__name__.rpartition('.')[2]}: looking", highlight=False)
        verdicts = await asyncio.to_thread(part.run, size)
        for verdict in verdicts:
            console.print(f"  {verdict.line()}", markup=False, highlight=False)
        found += verdicts
    return found
