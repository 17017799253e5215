# SPDX-License-Identifier: Apache-2.0
"""Suite *core*: the components of the library, each beside its peer."""

from collections.abc import Sequence

from rich.console import Console

from bench.core import aspects, bus, container, effects, partition, perspectives, state
from bench.harness import Figure

PARTS = (aspects, bus, container, effects, state, perspectives, partition)


def run(size: float, console: Console) -> Sequence[Figure]:
    """The figures of all parts."""
    return [figure for part in PARTS for figure in part.run(size, console)]
