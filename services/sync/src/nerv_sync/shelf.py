# SPDX-License-Identifier: Apache-2.0
"""Plans in history, `sync-<sync>/plan/<id>`: what was to be done, in pieces, and who has approved it."""

import asyncio
import base64
import contextlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from nerv.errors import IdConflict, Invalid, NotFound
from nerv.protocols import Appended, AppendRequest, Clock, History
from nerv.sync.keeping import from_bytes, to_bytes
from nerv.sync.plan import Plan
from nerv.sync.tree import digest
from nerv.types import Event, EventType, format_instant

PIECE = 120 * 1024  # bytes of a packed plan in one event, whose limit is 256 KiB
PIECES = 4  # events in one append, whose limit is 1 MiB
PACKING = 1  # of zlib: rows are much alike, and a run waits for it


@dataclass(frozen=True, slots=True)
class Kept:
    """A plan, the filters that it was made with, and its approval (`{by, when}`), if it has one."""

    plan: Plan
    where: tuple[str, ...]
    approval: dict[str, str] | None


def plan_stream(sync: str, plan: str) -> str:
    """The stream of a plan."""
    return f"sync-{sync}/plan/{plan}"


class Shelf:
    """Every method raises what the history does."""

    def __init__(self, history: History, clock: Clock) -> None:
        self._history = history
        self._clock = clock

    async def keep(self, sync: str, plan: Plan, where: Sequence[str]) -> None:
        """Keep a plan; one that is kept already stays."""
        packed = await asyncio.to_thread(lambda: zlib.compress(to_bytes(plan), PACKING))
        # Told apart by what they hold: two replicas that keep one plan may differ in what is beside its steps.
        content = digest(packed).hex()
        parts = [packed[start : start + PIECE] for start in range(0, len(packed), PIECE)]
        about = {"content": content, "of": len(parts), "where": list(where)}
        events = [
            self._event(
                EventType.PLAN_KEPT, {**about, "piece": n, "data": base64.b64encode(part).decode()}, f"{content}-{n}"
            )
            for n, part in enumerate(parts)
        ]
        for start in range(0, len(events), PIECES):
            await self._append(sync, plan.id, events[start : start + PIECES])

    async def load(self, sync: str, plan: str) -> Kept:
        """A plan. Raises NotFound."""
        pieces: dict[str, dict[int, bytes]] = {}
        found: tuple[bytes, tuple[str, ...]] | None = None
        approval = None
        with contextlib.suppress(NotFound):
            async for event in self._history.read(plan_stream(sync, plan)):
                data = orjson.loads(event.data)
                if event.type == EventType.PLAN_APPROVED:
                    approval = {"by": data["by"], "when": format_instant(event.time)}
                    continue
                parts = pieces.setdefault(data["content"], {})
                parts[data["piece"]] = base64.b64decode(data["data"])
                if len(parts) == data["of"]:
                    found = b"".join(parts[n] for n in sorted(parts)), tuple(data["where"])
        if found is None:
            raise NotFound(f"{sync} has no plan {plan[:64]!r}; make one: nerv sync plan {sync}")
        packed, where = found
        return Kept(await asyncio.to_thread(lambda: from_bytes(zlib.decompress(packed))), where, approval)

    async def approve(self, sync: str, plan: str, by: str) -> dict[str, str]:
        """Approve a plan; answers `{by, when}`, of the first who did. Raises NotFound."""
        kept = await self.load(sync, plan)
        if kept.approval is not None:
            return kept.approval
        if not kept.plan.steps:
            raise Invalid(f"plan {plan} changes nothing; there is nothing to approve")
        await self._append(sync, plan, [self._event(EventType.PLAN_APPROVED, {"by": by}, "approved")])
        approval = (await self.load(sync, plan)).approval
        return approval or {"by": by, "when": format_instant(self._clock.now())}

    async def _append(self, sync: str, plan: str, events: Sequence[Event[bytes]]) -> None:
        # Each for itself: one that is there already says nothing about the next one.
        requests = [AppendRequest(plan_stream(sync, plan), [event]) for event in events]
        for outcome in await self._history.append(requests):
            if not isinstance(outcome, Appended | IdConflict):
                raise outcome

    def _event(self, kind: EventType, data: dict[str, Any], event_id: str) -> Event[bytes]:
        return Event(event_id, "nerv:sync", kind, self._clock.now(), orjson.dumps(data))
