# SPDX-License-Identifier: Apache-2.0
"""Suite *broker*: its parts one after the other, each on a mesh of its own."""

import logging
from collections.abc import Sequence

import structlog
from rich.console import Console

from tests.faults.broker.groups import run as groups
from tests.faults.broker.publishing import run as publishing
from tests.faults.broker.reacting import run as reactions
from tests.faults.verdict import Invariant

PARTS = (publishing.run, groups.run, reactions.run)


async def run(scale: float, console: Console) -> Sequence[Invariant]:
    """All parts; `scale` shrinks each."""
    # Thousands of warnings are what this is about.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    found: list[Invariant] = []
    for part in PARTS:
        found += await part(scale, console)
    return found
