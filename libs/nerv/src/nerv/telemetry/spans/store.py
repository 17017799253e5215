# SPDX-License-Identifier: Apache-2.0
"""Where spans are kept: `<mesh>:spans:{recent}:*` in Redis, a hash a trace, and sorted sets by which the oldest ones go.

Bounded by count and age (`SpanSettings`), whoever writes. All of it may be wiped at any time.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from nerv.redis import Scripts
from nerv.redis.connection import Redis, mapped
from nerv.telemetry.spans.bounds import SpanSettings
from nerv.telemetry.spans.document import Kept

INDEXES = ("begun", "ended", "failed", "sizes", "total")
EMPTY = SpanSettings()


@dataclass(frozen=True, slots=True)
class TraceTimes:
    """A trace as its spans have told so far. Instants are microseconds since 1970."""

    trace: str
    begun: int
    ended: int
    failed: bool
    spans: int

    @property
    def microseconds(self) -> int:
        """From its first begin to its last end."""
        return self.ended - self.begun


class SpanStore:
    """The recent spans of a mesh. All raise Unavailable or UnknownOutcome when Redis does not answer."""

    def __init__(self, redis: Redis, mesh: str, bounds: SpanSettings = EMPTY) -> None:
        self._redis, self._bounds = redis, bounds
        self._scripts = Scripts(redis, "nerv.telemetry.spans")
        self._prefix = f"{mesh}:spans:{{recent}}:"  # one slot of a Redis Cluster, for the script

    async def keep(self, spans: Iterable[Kept]) -> int:
        """Add spans; those that are there already are replaced. Answers how many were too many for their trace."""
        by_trace: dict[str, dict[str, Kept]] = defaultdict(dict)
        for one in spans:
            by_trace[one.trace][one.span] = one
        bounds = self._bounds
        args: list[str | bytes | int | float] = [
            time.time_ns() // 1000, bounds.seconds, bounds.count, bounds.traces, bounds.of_trace,
        ]  # fmt: skip
        for trace, found in by_trace.items():
            _, _, begun, ended, failed, _ = zip(*found.values(), strict=True)
            args += [trace, min(begun), max(ended), int(any(failed)), len(found)]
            for one in found.values():
                args += [one.span, one.document]
        keys = [self._prefix + name for name in INDEXES]
        return int(await self._scripts("keep", [*keys, f"{self._prefix}trace:"], args))

    async def trace(self, trace: str) -> list[dict[str, Any]]:
        """The spans of a trace as they were kept (`document`), by when they began; none when it is not known."""
        return (await self.traces([trace]))[0]

    async def traces(self, traces: Sequence[str]) -> list[list[dict[str, Any]]]:
        """The spans of several traces, in order."""
        if not traces:
            return []
        with mapped("spans"):
            pipeline = self._redis.pipeline(transaction=False)
            for one in traces:
                pipeline.hvals(f"{self._prefix}trace:{one}")
            found = await pipeline.execute()
        return [sorted(map(orjson.loads, spans), key=lambda span: span["begun"]) for spans in found]

    async def times(self) -> list[TraceTimes]:
        """All traces that are kept, the one with the latest end first."""
        with mapped("spans"):
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.zrange(f"{self._prefix}ended", 0, -1, desc=True, withscores=True)
            for name in ("begun", "failed", "sizes"):
                pipeline.zrange(f"{self._prefix}{name}", 0, -1, withscores=True)
            ended, begun, failed, sizes = await pipeline.execute()
        begins, counts, bad = dict(begun), dict(sizes), {trace for trace, _ in failed}
        oldest = time.time() * 1e6 - self._bounds.seconds * 1e6
        return [
            TraceTimes(trace.decode(), int(begins.get(trace, at)), int(at), trace in bad, int(counts.get(trace, 0)))
            for trace, at in ended
            if at >= oldest
        ]
