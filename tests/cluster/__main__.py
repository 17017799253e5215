# SPDX-License-Identifier: Apache-2.0
"""The chart on a real Kubernetes: `python -m tests.cluster [PART ...]`. SCALE=0.2 flies fewer days; KEEP=1 keeps it up."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from rich.console import Console

from bench.harness import scale
from nerv.errors import Misconfigured, NervError
from tests.cluster.kubernetes import home
from tests.cluster.phases import Book
from tests.cluster.release import Release
from tests.cluster.stage import NAMESPACE, kept, staged
from tests.cluster.suite import PARTS, Suite
from tests.cluster.telling import tell
from tests.faults.verdict import Invariant

WIDTH = 150  # where nobody watches


class Stopped(Exception):
    """The run could not go on, and has said why."""


def main() -> int:
    """0: all held. 1: something did not, or the run could not go on. 130: stopped."""
    options = _options()
    screen = Console(width=None if sys.stdout.isatty() else WIDTH)
    try:
        found = asyncio.run(_run(options, screen))
    except Stopped:
        return 1
    except NervError as error:
        _say(error, screen)
        return 1
    except asyncio.CancelledError:
        screen.print("stopped")
        return 130
    return 0 if all(invariant.holds for invariant in found) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="cluster-test", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all of them by default")
    parser.add_argument("--kept", action="store_true", help="on the cluster that another run keeps up (KEEP=1)")
    options = parser.parse_args()
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return options


async def _run(options: argparse.Namespace, screen: Console) -> Sequence[Invariant]:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):  # all goes down
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    size, book = scale(os.environ), Book(screen)
    async with _installed(options.kept, book) as release:
        try:
            found = await Suite(release, book, screen, size, options.parts or PARTS, not options.kept).run()
            _tell(found, book, screen)
        except NervError as error:
            _say(error, screen)
            tell(book.phases, screen)
            await _stay(screen)
            raise Stopped from error
        await _stay(screen)
    return found


@asynccontextmanager
async def _installed(on_kept: bool, book: Book) -> AsyncIterator[Release]:
    if on_kept:
        yield kept()
        return
    if os.geteuid() != 0:
        raise Misconfigured("a kubelet, its network and its mounts need root, on a machine that may be used so")
    async with staged(book) as release:
        yield release


def _tell(found: Sequence[Invariant], book: Book, screen: Console) -> None:
    tell(book.phases, screen)
    for invariant in found:
        screen.print(invariant.line(), highlight=False, soft_wrap=True)
        for example in invariant.violations[:5]:
            screen.print(f"  {example}", markup=False, highlight=False)


def _say(error: NervError, screen: Console) -> None:
    screen.print(f"cluster-test cannot go on: {error}", style="bold red", markup=False, highlight=False)


async def _stay(screen: Console) -> None:
    """Until Ctrl-C, when KEEP asks for it."""
    if not os.environ.get("KEEP"):
        return
    screen.print("\nThe cluster stays up until Ctrl-C. In another terminal:")
    screen.print(f"  export KUBECONFIG={home()}/run/kubeconfig PATH={home()}/bin:$PATH", highlight=False)
    screen.print(f"  kubectl -n {NAMESPACE} get pods", highlight=False)
    await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
