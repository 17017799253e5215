# SPDX-License-Identifier: Apache-2.0
"""Suite *core*, aspects: calls of woven functions while logging is off, beside the plain ones."""

import sys
from collections.abc import Sequence

from rich.console import Console

from bench.harness import Contestant, Figure, interleave

CALLS = 1_000_000


def run(size: float, console: Console) -> Sequence[Figure]:
    """Calls a second."""
    count = str(max(10_000, int(CALLS * size)))

    def pair(what: str) -> list[float]:
        command = [sys.executable, "-m", "bench.core.aspects_ours"]
        off = Contestant("logging off", [*command, f"off-{what}", count])
        return interleave([off, Contestant("plain", [*command, f"plain-{what}", count])], f"woven {what}", console)

    method, plain_method = pair("method")
    value, plain_value = pair("value")
    return [
        Figure("aspects.method_off_per_second", method, plain_method, goal=1 / 1.3),
        Figure("aspects.value_off_per_second", value, plain_value, goal=1 / 1.3),
    ]
