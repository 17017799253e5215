# SPDX-License-Identifier: Apache-2.0
"""`python -m bench [SUITE ...]`: run the suites and print a line for each figure. SCALE=0.1 shrinks them."""

import argparse
import os
import sys

from rich.console import Console

from bench.broker import consume, produce
from bench.broker import suite as broker
from bench.core import suite as core
from bench.harness import Figure, Measured, scale
from bench.projector import suite as projector
from bench.scheduler import suite as scheduler
from bench.sync import suite as sync
from bench.telemetry import suite as telemetry
from bench.temporal import suite as temporal
from nerv.errors import NervError

SUITES = {
    "broker": broker.run,
    "core": core.run,
    "sync": sync.run,
    "temporal": temporal.run,
    "projector": projector.run,
    "scheduler": scheduler.run,
    "telemetry": telemetry.run,
}
PARTS = {"produce": produce.run, "consume": consume.run}  # of suite broker


def main() -> int:
    """Run what was asked for. A figure that falls short of its goal is said, and is no error."""
    known = SUITES | PARTS
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(known)}; all of them by default")
    wanted = parser.parse_args().suites or list(SUITES)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        parser.error(f"there is no suite {', '.join(unknown)}; there are {', '.join(known)}")
    console = Console(stderr=True)
    try:
        size = scale(os.environ)
        figures = [figure for name in wanted for figure in known[name](size, console)]
    except (NervError, ValueError) as error:
        console.print(f"bench cannot run: {error}", style="bold red", markup=False)
        return 1
    for figure in figures:
        sys.stdout.write(f"{line(figure) if isinstance(figure, Figure) else measured(figure)}\n")
    return 0


def line(figure: Figure) -> str:
    """The line of a figure, for people and for machines."""
    ratio = figure.ours / figure.peer
    verdict = "ok" if ratio >= figure.goal else "short"
    return (
        f"BENCH {figure.name} ours={figure.ours:.0f} peer={figure.peer:.0f} "
        f"ratio={ratio:.2f} goal={figure.goal:g} {verdict}"
    )


def measured(figure: Measured) -> str:
    """The line of a figure with a fixed bound, or with none."""
    if figure.most is not None:
        goal, met = f" goal<={figure.most:g}", figure.value <= figure.most
    elif figure.least is not None:
        goal, met = f" goal>={figure.least:g}", figure.value >= figure.least
    else:
        return f"BENCH {figure.name} value={figure.value:.4g} {figure.unit}"
    return f"BENCH {figure.name} value={figure.value:.4g} {figure.unit}{goal} {'ok' if met else 'short'}"


if __name__ == "__main__":
    sys.exit(main())
