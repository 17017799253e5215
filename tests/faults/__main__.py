# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.faults [SUITE ...]`: run the suites and print a line for each invariant. SCALE=0.1 shrinks them."""

import argparse
import asyncio
import os
import sys

from rich.console import Console

from bench.harness import scale
from nerv.errors import NervError
from tests.faults.broker import suite as broker
from tests.faults.core import suite as core
from tests.faults.projector import suite as projector
from tests.faults.scheduler import suite as scheduler
from tests.faults.sync import suite as sync
from tests.faults.temporal import suite as temporal
from tests.faults.verdict import Invariant

SUITES = {
    "temporal": temporal.run,
    "broker": broker.run,
    "core": core.run,
    "projector": projector.run,
    "scheduler": scheduler.run,
    "sync": sync.run,
}


def main() -> int:
    """Run what was asked for; 1 when an invariant is broken or a run proved nothing."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}; all of them by default")
    wanted = parser.parse_args().suites or list(SUITES)
    unknown = [name for name in wanted if name not in SUITES]
    if unknown:
        parser.error(f"there is no suite {', '.join(unknown)}; there are {', '.join(SUITES)}")
    console = Console(stderr=True)
    found: list[Invariant] = []
    try:
        for name in wanted:
            found += asyncio.run(SUITES[name](scale(os.environ), console))
    except NervError as error:
        console.print(f"the fault run cannot go on: {error}", style="bold red", markup=False)
        return 1
    for invariant in found:
        sys.stdout.write(f"{invariant.line()}\n")
        for example in invariant.violations[:5]:
            console.print(f"  {example}", markup=False)
    return 0 if all(invariant.holds for invariant in found) else 1


if __name__ == "__main__":
    sys.exit(main())
