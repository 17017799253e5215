# SPDX-License-Identifier: Apache-2.0
"""The conflict journal: every update that a sync overruled, and the queue of conflicts that wait for a person.

Events in a history, `conflict.<sync>-<hash of the key>`. An update is journaled as lost before it is overwritten, and as spared
when the write was then refused: who dies in between has journaled too much, never too little.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from nerv.clock import SystemClock
from nerv.errors import IdConflict, Invalid, Misconfigured, NervError, NotFound
from nerv.protocols import AppendRequest, Clock, History, Latest
from nerv.state import MISSING
from nerv.sync.canonical import canonical
from nerv.sync.strategies import Conflict
from nerv.sync.threeway import Loss, boxed, unboxed
from nerv.sync.tree import digest
from nerv.types import Description, Event, EventType, format_instant

MANY = 500  # events in one append
_NAME = re.compile(r"[a-z0-9][a-z0-9._]{0,63}")
_QUEUE = frozenset((EventType.CONFLICT_ASKED, EventType.CONFLICT_DECIDED, EventType.CONFLICT_CLOSED))
_OPEN = (EventType.CONFLICT_ASKED, EventType.CONFLICT_DECIDED)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A conflict that waits for a person. Rows hold what is compared, None where a side has none; `since` is RFC 3339."""

    id: str
    key: str
    base: Any
    left: Any
    right: Any
    since: str


@dataclass(frozen=True, slots=True)
class Lost:
    """An update that was overruled: `side` held `lost` (of `field`, or the whole row), and `kept` holds instead; MISSING is
    nothing. `strategy` says why, `when` is RFC 3339.
    """

    side: str
    key: str
    field: str | None
    lost: Any
    kept: Any
    strategy: str
    when: str


class ConflictJournal:
    """The journal of one sync. Methods raise what the history does; what cannot be journaled is not overwritten either."""

    def __init__(self, history: History, sync: str, clock: Clock | None = None) -> None:
        if not _NAME.fullmatch(sync):
            raise Misconfigured(f"sync {sync!r}: a name has small letters, digits, dots and underscores")
        self._history = history
        self._category = f"conflict.{sync}"
        self._clock = clock or SystemClock()
        self._counts = {"asked": 0, "decided": 0, "lost": 0, "spared": 0}

    async def ask(self, conflicts: Iterable[Conflict]) -> None:
        """Queue conflicts for a person; one that waits already waits on."""
        found = list(conflicts)
        new = [
            _asked(one, conflict_id(one), latest.version)
            for one, latest in zip(found, await self._queued([one.key for one in found]), strict=True)
            if _state(latest) not in [(kind, conflict_id(one)) for kind in _OPEN]
        ]
        await self._append(new)
        self._counts["asked"] += len(new)

    async def waiting(self) -> list[Waiting]:
        """The conflicts that wait, by key: of each object the latest."""
        found: dict[str, Waiting] = {}
        async for event in self._history.read_category(self._category):
            data = orjson.loads(event.data)
            if event.type == EventType.CONFLICT_ASKED:
                found[data["key"]] = Waiting(
                    data["id"], data["key"], data["base"], data["left"], data["right"], format_instant(event.time)
                )
            elif event.type in _QUEUE:
                found.pop(data["key"], None)
        return [found[key] for key in sorted(found)]

    async def decide(self, key: str, conflict: str, choice: Any, by: str) -> None:
        """A person's word on a conflict: `choice` is "left", "right", a row that shall hold, or None to delete the object.

        It holds for this very conflict: when a side has changed by the next run, that is another one, and asked anew. Raises
        NotFound for a conflict that does not wait, Invalid for another choice.
        """
        [latest] = await self._queued([key])
        if _state(latest) != (EventType.CONFLICT_ASKED, conflict):
            raise NotFound(
                f"no conflict {conflict} of {key!r} waits; list them anew, for a side may have changed since"
            )
        if choice not in ("left", "right", None) and not isinstance(choice, dict):
            raise Invalid(f"choose left, right, a row, or None to delete the object, not {choice!r:.60}")
        data = {"id": conflict, "key": key, "choice": choice, "by": by}
        await self._append([(EventType.CONFLICT_DECIDED, f"decided-{conflict}-{latest.version}", data)])
        self._counts["decided"] += 1

    async def decisions(self, conflicts: Sequence[Conflict]) -> dict[str, Any]:
        """What persons have decided of these very conflicts, by key: a row, or MISSING."""
        latest = await self._queued([one.key for one in conflicts])
        return {
            one.key: _choice(one, found)
            for one, found in zip(conflicts, latest, strict=True)
            if _state(found) == (EventType.CONFLICT_DECIDED, conflict_id(one))
        }

    async def close(self, key: str) -> None:
        """The conflict of this object is none any more, or another one."""
        [latest] = await self._queued([key])
        kind, name = _state(latest)
        if kind == EventType.CONFLICT_ASKED:
            data = {"id": name, "key": key}
            await self._append([(EventType.CONFLICT_CLOSED, f"closed-{name}-{latest.version}", data)])

    async def lose(self, losses: Sequence[Loss], attempt: str) -> None:
        """These updates are about to be overwritten by an attempt to apply a plan."""
        await self._append([(EventType.UPDATE_LOST, _loss_id(loss, attempt), _lost(loss)) for loss in losses])
        self._counts["lost"] += len(losses)

    async def spare(self, losses: Sequence[Loss], attempt: str) -> None:
        """These were not overwritten by it after all: the write was refused."""
        found = [(_loss_id(loss, attempt), loss.key) for loss in losses]
        await self._append([
            (EventType.UPDATE_SPARED, f"spared-{name}", {"id": name, "key": key}) for name, key in found
        ])  # fmt: skip
        self._counts["spared"] += len(losses)

    async def lost(self) -> list[Lost]:
        """Every update that was overruled, object by object, each in the order of time."""
        found: dict[str, Lost] = {}
        async for event in self._history.read_category(self._category):
            data = orjson.loads(event.data)
            if event.type == EventType.UPDATE_LOST:
                lost, kept = unboxed(data["lost"]), unboxed(data["kept"])
                when = format_instant(event.time)
                found[event.id] = Lost(data["side"], data["key"], data["field"], lost, kept, data["strategy"], when)
            elif event.type == EventType.UPDATE_SPARED:
                found.pop(data["id"], None)
        return list(found.values())

    def describe(self) -> Description:
        """The journal as data."""
        stream = (f"{self._category}-*",)
        return Description("ConflictJournal", self._category, stream, stream, counters=dict(self._counts))

    async def _queued(self, keys: Sequence[str]) -> list[Latest]:
        """How the queues of these objects stand: the latest event of each that says so."""
        return await self._history.latest([self._stream(key) for key in keys], _QUEUE)

    async def _append(self, entries: Sequence[tuple[EventType, str, dict[str, Any]]]) -> None:
        for start in range(0, len(entries), MANY):
            requests = [
                AppendRequest(
                    self._stream(data["key"]), [Event(name, "nerv:sync", kind, self._clock.now(), canonical(data))]
                )
                for kind, name, data in entries[start : start + MANY]
            ]
            for outcome in await self._history.append(requests):
                # The id stands for what is said; that it was said at another time does not matter.
                if isinstance(outcome, NervError) and not isinstance(outcome, IdConflict):
                    raise outcome

    def _stream(self, key: str) -> str:
        return f"{self._category}-{digest(key.encode()).hex()}"


def conflict_id(conflict: Conflict) -> str:
    """Which conflict it is: of the object, with these rows on both sides."""
    rows = [boxed(conflict.base), boxed(conflict.left), boxed(conflict.right)]
    return digest(canonical({"key": conflict.key, "rows": rows})).hex()


def _loss_id(loss: Loss, attempt: str) -> str:
    # Of one attempt: another one that is refused says nothing about what this one has overwritten.
    return f"{digest(canonical(_lost(loss))).hex()}-{attempt}"


def _state(latest: Latest) -> tuple[str, str]:
    """How the queue of an object stands: the type of the latest event that says so, and of which conflict."""
    event = latest.event
    return ("", "") if event is None else (event.type, orjson.loads(event.data)["id"])


def _choice(conflict: Conflict, latest: Latest) -> Any:
    choice = None if latest.event is None else orjson.loads(latest.event.data)["choice"]
    if isinstance(choice, str):
        return conflict.left if choice == "left" else conflict.right
    return MISSING if choice is None else choice


def _asked(conflict: Conflict, name: str, number: int) -> tuple[EventType, str, dict[str, Any]]:
    rows = {"base": conflict.base, "left": conflict.left, "right": conflict.right}
    data = {"id": name, "key": conflict.key, **{side: None if row is MISSING else row for side, row in rows.items()}}
    return EventType.CONFLICT_ASKED, f"asked-{name}-{number}", data


def _lost(loss: Loss) -> dict[str, Any]:
    return {
        "side": loss.side,
        "key": loss.key,
        "field": loss.field,
        "lost": boxed(loss.lost),
        "kept": boxed(loss.kept),
        "strategy": loss.strategy,
        "version": loss.version,
    }
