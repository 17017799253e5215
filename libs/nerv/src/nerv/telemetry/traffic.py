# SPDX-License-Identifier: Apache-2.0
"""What goes from where to where in this process, counted once a batch: the graph of the mesh as it is seen in traffic.

The ends are named by kind, as those of declared ways (`nerv.topology`): `service:temporal`, `topic:shop.orders.v1`,
`reaction:confirm`, `projection:orders`, `category:order` (of streams).
"""

import time
from typing import Any

from nerv.types import Description

MOST = 500  # edges that are told apart; of an app that has more, the others are not seen

Ends = tuple[str, str]


class Traffic:
    """Counts of a process. One dictionary entry is changed for each batch; nothing else is done until somebody looks."""

    def __init__(self) -> None:
        self._counts: dict[Ends, int] = {}
        self._last: dict[Ends, float] = {}
        self._before: dict[Ends, int] = {}
        self._looked = time.monotonic()

    def saw(self, source: str, target: str, count: int) -> None:
        """So many went that way."""
        ends = (source, target)
        if count and (ends in self._counts or len(self._counts) < MOST):
            self._counts[ends] = self._counts.get(ends, 0) + count

    def look(self) -> list[dict[str, Any]]:
        """Every way with what has gone there in all, how many a second since the last look, and when some did last: seconds since
        1970, as precisely as looks follow each other.
        """
        now, wall = time.monotonic(), time.time()
        seconds, self._looked = max(now - self._looked, 0.001), now
        counts = dict(self._counts)
        self._last |= {ends: wall for ends, count in counts.items() if count != self._before.get(ends, 0)}
        rates = {ends: (count - self._before.get(ends, 0)) / seconds for ends, count in counts.items()}
        self._before = counts
        return [
            {
                "from": source,
                "to": target,
                "count": count,
                "rate": rates[source, target],
                "last": self._last[source, target],
            }
            for (source, target), count in counts.items()
        ]

    def describe(self) -> Description:
        """How many ways there are, and how much has gone them."""
        return Description(
            "Traffic", "process", counters={"ways": len(self._counts), "events": sum(self._counts.values())}
        )


TRAFFIC = Traffic()
"""That of this process: as with meters, one for all that runs in it."""

saw = TRAFFIC.saw
