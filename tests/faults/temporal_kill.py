# SPDX-License-Identifier: Apache-2.0
"""Suite *temporal-kill*: the owner of the partitions is killed again and again under four clients that append.

Invariants: no acknowledged event is lost, none is there twice, versions have no gap, and nothing refused is there.
"""

import asyncio
import random
import tempfile
import uuid
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.errors import NervError, Refused, Unavailable
from nerv.protocols import Appended, AppendRequest, Expected
from nerv.protocols.history import Expect
from nerv.types import Event, new_event_id
from tests.faults.verdict import Found, Invariant, Observed, gaps, invented, lost, twice, vacuous

KILLS = 20
CLIENTS = 4
LANES = 4  # appends that one client has in flight
STREAMS = 12
BETWEEN = (0.3, 2.0)  # seconds of undisturbed work before each kill
APPEND_SECONDS = 30.0
APPS = Path(__file__).parent.parent / "apps"
REPLICAS = ("temporal", "temporal-2")


async def run(scale: float, console: Console) -> Sequence[Invariant]:
    """Kill the owner 20 times (times `scale`) and check what history holds."""
    kills = max(1, round(KILLS * scale))
    observed = Observed(defaultdict(dict), defaultdict(set), defaultdict(set))
    with tempfile.TemporaryDirectory(prefix="nerv-faults-") as name:
        mesh = LocalMesh(
            app="ledger:app",
            env={"PYTHONPATH": str(APPS)},
            services=["temporal"],
            replicas={"temporal": len(REPLICAS)},
            folder=Path(name) / ".nerv",
            mesh=f"f{uuid.uuid4().hex[:8]}",
            on_phase=lambda text: console.print(text, markup=False, style="dim"),
        )
        async with mesh:
            await _disturb(mesh, kills, observed, console)
            found = await _read(mesh)
    nothing = vacuous(observed, kills, least_in_flight=2, most_unknown=0.05)
    operations = observed.operations
    unknown = observed.count(observed.unknown)
    console.print(f"{operations} appends, {observed.count(observed.refused)} refused, {unknown} unknown", style="dim")
    complaints = {
        "lost": lost(observed, found),
        "twice": twice(found),
        "gap": gaps(found),
        "invented": invented(observed, found),
    }
    return [Invariant(f"temporal-kill.{what}", operations, kills, c, nothing) for what, c in complaints.items()]


async def _disturb(mesh: LocalMesh, kills: int, observed: Observed, console: Console) -> None:
    load = _Load(observed)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("temporal-kill", total=kills)
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(load.client(mesh.url(REPLICAS[number % len(REPLICAS)])))
            for _ in range(kills):
                await asyncio.sleep(random.uniform(*BETWEEN))  # noqa: S311 - when a fault comes must not be regular
                victim = await _owner(mesh)
                observed.in_flight_at_fault.append(load.in_flight)
                await mesh.kill(victim)
                await load.progressed(CLIENTS * LANES)
                await mesh.restart(victim)
                bar.update(task, advance=1, description=f"temporal-kill: {observed.operations:,} appends")
            load.stop.set()


class _Load:
    """Clients that append: half of the requests expect an exact version, some are sent again on purpose."""

    def __init__(self, observed: Observed) -> None:
        self.stop = asyncio.Event()
        self.in_flight = 0
        self._observed = observed
        self._acknowledged = 0
        self._versions: dict[str, int] = defaultdict(int)

    async def client(self, url: str) -> None:
        """One client until `stop`."""
        async with Client({"temporal": url}) as client, asyncio.TaskGroup() as group:
            for _ in range(LANES):
                group.create_task(self._lane(client))

    async def progressed(self, count: int) -> None:
        """Until so many more appends are acknowledged."""
        goal = self._acknowledged + count
        async with asyncio.timeout(90):
            while self._acknowledged < goal:  # noqa: ASYNC110 - the lanes are plain loops
                await asyncio.sleep(0.02)

    async def _lane(self, client: Client) -> None:
        while not self.stop.is_set():
            stream = f"account-{random.randrange(STREAMS)}"  # noqa: S311 - no secret
            exact = Expected(Expect.EXACT, self._versions[stream])
            request = AppendRequest(stream, [_event()], random.choice([exact, Expected()]))  # noqa: S311
            for _ in range(random.choice([1, 1, 1, 2])):  # noqa: S311 - a repeat must change nothing
                self.in_flight += 1
                try:
                    [outcome] = await client.streams.append([request], seconds=APPEND_SECONDS)
                except NervError as error:
                    outcome = error
                finally:
                    self.in_flight -= 1
                self._note(request, outcome)

    def _note(self, request: AppendRequest, outcome: Appended | NervError) -> None:
        stream, event_id = request.stream, request.events[0].id
        if isinstance(outcome, Appended):
            self._observed.done[stream][event_id] = outcome.first_version
            self._observed.unknown[stream].discard(event_id)
            self._versions[stream] = max(self._versions[stream], outcome.last_version)
            self._acknowledged += 1
        elif event_id in self._observed.done[stream]:
            return  # what was done stays done, whatever a repeat is told
        elif isinstance(outcome, Refused | Unavailable) and event_id not in self._observed.unknown[stream]:
            self._observed.refused[stream].add(event_id)
            for error in outcome.errors or ():
                self._versions[stream] = max(self._versions[stream], int(error.get("version", 0)))
        else:
            self._observed.unknown[stream].add(event_id)


def _event() -> Event[bytes]:
    return Event(new_event_id(), "faults", "account.deposited.v1", datetime.now(UTC), b'{"account":"a","amount":1}')


async def _owner(mesh: LocalMesh) -> str:
    """The replica that owns most partitions now."""
    owned: dict[str, int] = {}
    for name in REPLICAS:
        async with Client({"temporal": mesh.url(name)}) as client:
            described = await client.about("temporal")
        owned[name] = len(described["owns"])
    return max(owned, key=lambda name: owned[name])


async def _read(mesh: LocalMesh) -> Found:
    found: dict[str, list[tuple[str, int]]] = defaultdict(list)
    async with Client({"temporal": mesh.url(REPLICAS[0])}) as client:
        async for event in client.streams.read_category("account"):
            found[event.stream].append((event.id, event.sequence or 0))
    return found
