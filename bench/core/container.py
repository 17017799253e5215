# SPDX-License-Identifier: Apache-2.0
"""Suite *core*, container: calls of functions whose defaults are components, beside calls that pass the component."""

import sys
from collections.abc import Sequence

from rich.console import Console

from bench.harness import Contestant, Figure, interleave

CALLS = 1_000_000


def run(size: float, console: Console) -> Sequence[Figure]:
    """Calls a second of a function, and of a coroutine function."""
    count = str(max(10_000, int(CALLS * size)))

    def pair(what: str) -> list[float]:
        command = [sys.executable, "-m", "bench.core.container_ours"]
        injected = Contestant("injected", [*command, f"injected-{what}", count])
        return interleave([injected, Contestant("direct", [*command, f"direct-{what}", count])], f"{what}s", console)

    function, direct_function = pair("function")
    coroutine, direct_coroutine = pair("coroutine")
    return [
        Figure("container.injected_calls_per_second", function, direct_function, goal=1 / 1.1),
        Figure("container.injected_awaits_per_second", coroutine, direct_coroutine, goal=1 / 1.1),
    ]
