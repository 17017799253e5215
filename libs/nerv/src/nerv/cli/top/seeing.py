# SPDX-License-Identifier: Apache-2.0
"""What a frame shows, asked of the mesh by three requests side by side."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from nerv.cancelling import end
from nerv.cli.listing import Row, replicas_of
from nerv.client import Client
from nerv.errors import Misconfigured, NervError
from nerv.types import format_instant, utc_now

RUNS = 20
FIRST_SECONDS = 10.0  # for the first look at a part; what does not answer by then is missing from the first frame
LATE_SECONDS = 3.0  # after which a part that does not answer is named


@dataclass(frozen=True, slots=True)
class Sight:
    """The mesh at one moment. `faults` say what could not be seen, and why; `pending` are parts that were never seen yet."""

    at: datetime
    replicas: list[Row]
    projections: list[Row]
    runs: list[Row]
    faults: tuple[str, ...] = ()
    pending: frozenset[str] = frozenset()

    @property
    def meshes(self) -> list[tuple[str, str]]:
        """Mesh and app; several where replicas run different apps."""
        return sorted({(row["mesh"], row["app"]) for row in self.replicas if "mesh" in row})

    @property
    def answers(self) -> bool:
        """Whether any replica says anything."""
        return any("process" in row for row in self.replicas)

    @property
    def groups(self) -> list[Row]:
        """The lag of each group that is no part of a projection, over all replicas."""
        found: dict[tuple[str, str], int] = {}
        for replica in self.replicas:
            for one in replica.get("lags", ()):
                if ".projector." not in one["group"]:
                    place = one["group"], one["topic"]
                    found[place] = found.get(place, 0) + one["lag"]
        return [{"group": group, "topic": topic, "lag": lag} for (group, topic), lag in sorted(found.items())]

    @property
    def queues(self) -> list[Row]:
        """What waits for workers: every scheduler tells the same, and the last one counts."""
        told = [row["figures"]["queues"] for row in self.replicas if "queues" in row.get("figures", {})]
        return list(told[-1]) if told else []

    @property
    def pools(self) -> dict[str, tuple[int, int]]:
        """Places that are taken, and places, of the workers of all replicas by pool."""
        found: dict[str, tuple[int, int]] = {}
        for row in self.replicas:
            for name, pool in row.get("figures", {}).get("pools", {}).items():
                busy, size = found.get(name, (0, 0))
                found[name] = busy + pool["busy"], size + pool["size"]
        return found

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        more = {"groups": self.groups, "queues": self.queues, "pools": self.pools}
        told = {name: value for name, value in asdict(self).items() if name != "pending"}
        return told | {"at": format_instant(self.at), "faults": list(self.faults)} | more


class Looking:
    """Looks at each part of the mesh again and again, side by side, so that a slow one holds up no other. Use as `async with`."""

    def __init__(self, client: Client, interval: float) -> None:
        self.changed = asyncio.Event()
        self._interval = interval
        self._parts = {
            "replicas": _Part(lambda: replicas_of(client), ([], None)),
            "projections": _Part(client.views.projections, []),
            "runs": _Part(lambda: client.workflows.latest(RUNS), []),
        }
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._follow(part)) for part in self._parts.values()]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            await end(task)

    async def replicas_seen(self) -> None:
        """Until it is known which replicas there are."""
        await self._parts["replicas"].seen.wait()

    async def first(self) -> None:
        """Until every part was seen, or is late. Where no replica answers, nothing else is waited for."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_SECONDS):
                for part in self._parts.values():
                    await part.seen.wait()
                    if not self.sight().answers:
                        return

    async def _follow(self, part: "_Part") -> None:
        while True:
            await part.look()
            self.changed.set()
            await asyncio.sleep(self._interval)

    def sight(self) -> Sight:
        """What was seen last of each part, and the faults of those that do not answer."""
        replicas, fault = self._parts["replicas"].value
        told = [] if fault is None else [f"replicas: {fault}"]
        told += [f"{name}: {part.trouble}" for name, part in self._parts.items() if part.trouble is not None]
        pending = frozenset(name for name, part in self._parts.items() if not part.seen.is_set())
        projections, runs = self._parts["projections"].value, self._parts["runs"].value
        return Sight(utc_now(), replicas, list(projections), runs, tuple(told), pending)


class _Part:
    """One part of the picture, as it was seen last."""

    def __init__(self, ask: Callable[[], Awaitable[Any]], value: Any) -> None:
        self.value, self.seen = value, asyncio.Event()
        self._ask, self._fault, self._asked = ask, "", 0.0

    async def look(self) -> None:
        self._asked = time.monotonic()
        try:
            self.value, self._fault = await self._ask(), ""
        except Misconfigured:
            self._fault = ""  # this mesh runs without it
        except NervError as error:
            self._fault = error.detail
        except (ValueError, KeyError, TypeError) as error:
            self._fault = f"the answer is not one of this version of NERV ({type(error).__name__}: {error})"
        self._asked = 0.0
        self.seen.set()

    @property
    def trouble(self) -> str | None:
        """Why it is not as it is now."""
        waited = time.monotonic() - self._asked if self._asked else 0.0
        return f"no answer for {waited:.0f} s" if waited > LATE_SECONDS else self._fault or None


async def look(client: Client) -> Sight:
    """The mesh now, as far as it answers in time."""
    async with Looking(client, interval=FIRST_SECONDS) as looking:
        await looking.first()
        return looking.sight()
