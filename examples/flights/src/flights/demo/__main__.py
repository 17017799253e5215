# SPDX-License-Identifier: Apache-2.0
"""`python -m flights.demo [--months N] [--days N]`"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from flights.demo.running import run_demo
from nerv.errors import NervError

WIDTH = 120  # where nobody watches


def main() -> int:
    """0: passed. 1: something differs, or the mesh could not do it. 2: wrong arguments."""
    options = _options()
    screen = Console(width=None if sys.stdout.isatty() else WIDTH)
    try:
        return asyncio.run(
            _run(range(1, options.months + 1), range(1, options.days + 1), options.folder.absolute(), screen)
        )
    except NervError as error:
        screen.print(f"demo failed: {type(error).__name__}: {error}", style="bold red", markup=False)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        screen.print("stopped")
        return 130


async def _run(months: range, days: range, folder: Path, screen: Console) -> int:
    task = asyncio.current_task()
    if task is not None:
        # As Ctrl-C does: the mesh is stopped on the way out.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run_demo(months, days, folder, screen)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m flights.demo", description="The mesh on real flights of 2013.")
    parser.add_argument("--months", type=_in(range(1, 13)), default=1, help="the first N months of the year (1)")
    parser.add_argument("--days", type=_in(range(1, 32)), default=31, help="the first N days of each month (31)")
    parser.add_argument("--folder", type=Path, default=Path(".nerv"), help="where the mesh keeps its data (.nerv)")
    return parser.parse_args()


def _in(allowed: range) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdigit() or int(text) not in allowed:
            raise argparse.ArgumentTypeError(f"must be {allowed[0]} to {allowed[-1]}, not {text!r}")
        return int(text)

    return number


if __name__ == "__main__":
    sys.exit(main())
