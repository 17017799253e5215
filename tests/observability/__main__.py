# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.observability dashboards|alerts|traces [--only ...]`"""

import argparse
import asyncio
import sys

from rich.console import Console

from tests.observability import alerts, dashboards, traces
from tests.observability.binaries import MissingError
from tests.observability.traces import BadConfigError

CHECKS = {"dashboards": dashboards.check, "alerts": alerts.check, "traces": traces.check}


def main() -> int:
    """0 where all is as it should be, 1 where something is not, 2 without a Prometheus."""
    parser = argparse.ArgumentParser(prog="python -m tests.observability", description=__doc__)
    parser.add_argument("check", choices=sorted(CHECKS))
    parser.add_argument(
        "--only", nargs="*", default=[""], help="the faults or dashboards with one of these in their names"
    )
    screen = Console(width=None if sys.stdout.isatty() else 160)
    try:
        options = parser.parse_args()
        return asyncio.run(CHECKS[options.check](screen, options.only))
    except MissingError as error:
        screen.print(str(error), style="red", markup=False)
        return 2
    except BadConfigError as error:
        screen.print(str(error), style="red", markup=False)
        return 1


if __name__ == "__main__":
    sys.exit(main())
