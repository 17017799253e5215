# SPDX-License-Identifier: Apache-2.0
"""Suite *temporal*: three meshes of two replicas behind Toxiproxy, each taken through all faults under load, at once.

A fault mostly waits for the group's session to end, so that three meshes side by side need a third of the time. A fourth
has replicas that both take themselves for the owner of everything. All share a Kafka, which is killed as well.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from nerv.errors import NervError
from nerv.kafka import KafkaSettings
from tests.faults.rig import PARTITIONS, Mesh, MeshSpec, Replica, Rig, rig
from tests.faults.temporal.checker import RULES, check
from tests.faults.temporal.disturbances import LEAST_IN_FLIGHT, Disturber, Told
from tests.faults.temporal.followers import Followers
from tests.faults.temporal.load import Load
from tests.faults.temporal.log import final_log
from tests.faults.temporal.operations import End, Log, Seen
from tests.faults.temporal.seeded import SEEDS, Shown, show
from tests.faults.verdict import Invariant


def _mesh(name: str, *, skew_seconds: float = 0.0, convinced: bool = False) -> MeshSpec:
    """A mesh of temporal: what the clock of its second replica is off by, and whether both own everything."""
    shared = {"FAULTS_OWNS_ALL": "1"} if convinced else {}
    first, second = ({"FAULTS_CLOCK_SKEW": str(skew)} | shared for skew in (0.0, skew_seconds))
    return MeshSpec(
        name, "temporal", ("-m", "tests.faults.temporal.replica"), "ledger:app", environments=(first, second)
    )


MESHES = (_mesh("one"), _mesh("two", skew_seconds=-20.0), _mesh("three", skew_seconds=5.0))
FOLDER = Path(".nerv") / "faults"
CONVINCED = _mesh("both", convinced=True)
# Faults of all meshes together at SCALE=1.
FAULTS: Mapping[str, int] = {
    "kill": 300,
    "terminate": 45,
    "freeze": 30,
    "lose_replies": 120,
    "cut": 15,
    "lose_index": 12,
    "flush_redis": 6,
}
BROKER_KILLS = 6
CONVINCED_SECONDS = 120.0
FEWEST_FIGHTS = 4  # take-overs of each partition
FEWEST_CUTS = 1000  # of the readers that follow, in each mesh
OPERATIONS = 500_000
WRITABLE_AFTER_KILL, WRITABLE_AFTER_TERM = 12.0, 3.0  # s, for 95 of 100
MOST_UNKNOWN = 0.05
LEAST_DONE = 0.3  # conflicts are wanted, but a run of nothing else shows little
FINISH_SECONDS = 900.0  # for operations that are missing when all faults have been made
BROKER_REST = (2.0, 5.0)


@dataclass(slots=True)
class Ran:
    """One mesh and what was seen of it."""

    mesh: Mesh
    load: Load
    seen: Seen
    followers: Followers
    told: Told = field(default_factory=Told)
    take_overs: int = 0


async def run(scale: float, console: Console) -> Sequence[Invariant]:
    """The whole suite; `scale` shrinks the number of faults and operations."""
    # Thousands of warnings are what this is about.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    async with rig(FOLDER, [*MESHES, CONVINCED]) as made:
        console.print(f"logs are in {FOLDER / 'logs'}", highlight=False)
        shown = await _seeded(made.meshes[0].kafka, console)
        everything, broken_off = await _disturbed(made, scale, console)
        try:
            verdicts = [await _verdict(one, console) for one in everything]
        finally:
            for one in everything:
                await one.followers.stop()
    alive = Invariant("temporal.alive", sum(one.seen.count for one in everything), 0, [*made.deaths, *broken_off])
    return [*_seeded_verdict(shown), alive, *_verdicts(everything, verdicts, scale), *_times(everything, console)]


async def _seeded(kafka: KafkaSettings, console: Console) -> list[Shown]:
    found = []
    for seed in SEEDS:
        shown = await show(seed, kafka)
        rules = ", ".join(rule for rule, complaints in shown.with_bug.items() if complaints) or "nothing"
        console.print(f"seeded bug {seed.name}: found by {rules}", highlight=False)
        found.append(shown)
    return found


def _seeded_verdict(shown: Sequence[Shown]) -> list[Invariant]:
    faults = [fault for one in shown for fault in one.faults]
    return [Invariant("temporal.seeded", sum(one.operations for one in shown), len(shown), faults)]


async def _disturbed(made: Rig, scale: float, console: Console) -> tuple[list[Ran], list[str]]:
    """All meshes after their faults, and why the faults were broken off: what was seen until then is judged all the same."""
    broken_off: list[str] = []
    async with AsyncExitStack() as stack:
        *ordinary, both = [await stack.enter_async_context(_loaded(mesh, n)) for n, mesh in enumerate(made.meshes)]
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        planned = len(ordinary) * (sum(_plan(scale, len(ordinary)).values()) + _broker_kills(scale))
        telling = asyncio.create_task(_tell([*ordinary, both], planned, console))
        stack.callback(telling.cancel)
        with Progress(*columns, console=console, refresh_per_second=2) as bar:
            try:
                async with asyncio.TaskGroup() as group:
                    for number, one in enumerate(ordinary):
                        group.create_task(_all_faults(made, one, number, len(ordinary), scale, bar))
                    group.create_task(_fight(both, max(10.0, CONVINCED_SECONDS * scale), bar))
                await _kill_kafka(made, ordinary, _broker_kills(scale), bar)
                await _finish(ordinary, round(OPERATIONS * scale), bar)
            except* (NervError, TimeoutError) as errors:
                broken_off += [f"the faults were broken off: {error!r}" for error in errors.exceptions]
    return [*ordinary, both], broken_off


async def _tell(everything: Sequence[Ran], planned: int, console: Console) -> None:
    """A line a minute: where standard error is no terminal, bars are not seen before the end."""
    for minutes in count(1):
        await asyncio.sleep(60.0)
        operations, faults = sum(one.seen.count for one in everything), sum(one.told.faults for one in everything)
        left = f"some {minutes * (planned - faults) / faults:.0f} min left" if faults else "none yet"
        console.print(
            f"{minutes} min: {operations:,} operations, {faults} of {planned} faults, {left}", highlight=False
        )


@asynccontextmanager
async def _loaded(mesh: Mesh, seed: int) -> AsyncIterator[Ran]:
    """A mesh under load until the block ends; then all faults are over, and both replicas are ready."""
    seen = Seen()
    clients = [replica.client for replica in mesh.replicas]
    async with clients[0].commands(mesh.kafka, mesh.name) as commands:
        load = Load(clients, commands, seen, partitions=PARTITIONS, seed=seed)
        running = asyncio.create_task(load.run())
        followers = Followers(clients, load, seen, seed)
        followers.start()
        try:
            yield Ran(mesh, load, seen, followers)
        finally:
            load.stop.set()
            await running


def _plan(scale: float, meshes: int) -> dict[str, int]:
    """The faults of one mesh."""
    return {what: max(1, round(count * scale / meshes)) for what, count in FAULTS.items()}


def _broker_kills(scale: float) -> int:
    return max(1, round(BROKER_KILLS * scale))


async def _all_faults(made: Rig, one: Ran, number: int, meshes: int, scale: float, bar: Progress) -> None:
    disturber = Disturber(made, one.mesh, one.load, one.told, number)
    plan = _plan(scale, meshes)
    task = bar.add_task(one.mesh.spec.name, total=sum(plan.values()))

    for what, times in plan.items():

        def advance(what: str = what) -> None:
            bar.update(task, advance=1, description=f"{one.mesh.spec.name}: {what}, {one.seen.count:,} operations")

        await disturber.repeat(what, times, advance)


async def _fight(one: Ran, seconds: float, bar: Progress) -> None:
    """Both replicas serve everything; whoever commits last is fenced by the next."""
    task = bar.add_task("both own everything", total=round(seconds))
    for _ in range(round(seconds)):
        await asyncio.sleep(1.0)
        bar.update(task, advance=1, description=f"both own everything: {one.seen.count:,} operations")
    one.load.stop.set()


async def _kill_kafka(made: Rig, everything: Sequence[Ran], times: int, bar: Progress) -> None:
    task = bar.add_task("Kafka is killed", total=times)
    for _ in range(times):
        await asyncio.sleep(BROKER_REST[0])
        for one in everything:
            one.told.note("killed Kafka", one.load)
        await made.kill_kafka()
        await asyncio.gather(*(one.load.progressed(100) for one in everything))
        bar.update(task, advance=1)


async def _finish(everything: Sequence[Ran], operations: int, bar: Progress) -> None:
    task = bar.add_task("the rest of the operations", total=operations)
    async with asyncio.timeout(FINISH_SECONDS):
        while (count := sum(one.seen.count for one in everything)) < operations:
            bar.update(task, completed=count)
            await asyncio.sleep(1.0)
    bar.update(task, completed=operations)


async def _verdict(one: Ran, console: Console) -> dict[str, list[str]]:
    """What the rules say of a mesh, and whether the indexes of both replicas hold what Kafka holds."""
    await one.mesh.ready()
    final = await final_log(one.mesh.kafka, f"{one.mesh.name}.history.v1", PARTITIONS)
    log, one.take_overs = final.log, final.take_overs
    await one.followers.finish(log)
    events = sum(map(len, log.values()))
    console.print(
        f"{one.mesh.spec.name}: {one.seen.count:,} operations, {events:,} events in {len(log):,} streams, "
        f"{one.seen.share(End.CONFLICT):.1%} conflicts, {one.seen.share(End.REFUSED):.2%} not done, "
        f"{one.seen.share(End.UNKNOWN):.3%} unknown; {one.take_overs} take-overs; {one.told.counts}; "
        f"{len(one.seen.courses)} readers followed {one.seen.followed:,} events over {one.seen.cuts:,} cuts",
        highlight=False,
    )
    complaints = await asyncio.to_thread(check, one.seen, log)
    complaints["index"] = [fault for replica in one.mesh.replicas for fault in await _index_faults(replica, log)]
    return complaints


async def _index_faults(replica: Replica, log: Log) -> list[str]:
    found: dict[str, list[str]] = defaultdict(list)
    async for event in replica.client.streams.read_category(None):
        found[event.stream].append(event.id)
    return [
        f"{stream}: the index of {replica.name} has {len(found[stream])} events, or others; Kafka has {len(entries)}"
        for stream, entries in log.items()
        if found[stream] != [entry.event_id for entry in entries]
    ]


def _verdicts(
    everything: Sequence[Ran], complaints: Sequence[Mapping[str, list[str]]], scale: float
) -> list[Invariant]:
    operations = sum(one.seen.count for one in everything)
    faults = sum(one.told.faults for one in everything)
    vacuous = _vacuous(everything, scale)
    names = [*(rule.__name__ for rule in RULES), "index"]
    return [
        Invariant(
            f"temporal.{name}",
            operations,
            faults,
            [
                f"{one.mesh.spec.name}: {c}"
                for one, found in zip(everything, complaints, strict=True)
                for c in found[name]
            ],
            vacuous,
        )
        for name in names
    ]


def _vacuous(everything: Sequence[Ran], scale: float) -> str:
    """Why the run proves nothing; empty when it does prove something."""
    *ordinary, both = everything
    operations = sum(one.seen.count for one in everything)
    if operations < OPERATIONS * scale:
        return f"only {operations} operations"
    hit = [count for one in ordinary for count in one.told.in_flight]
    idle = sum(1 for count in hit if count < LEAST_IN_FLIGHT)
    if idle * 10 > len(hit):
        return f"{idle} of {len(hit)} faults hit fewer than {LEAST_IN_FLIGHT} appends in flight"
    if both.take_overs < FEWEST_FIGHTS * PARTITIONS:
        return f"two that both owned everything took over only {both.take_overs} times"
    for one in everything:
        if one.seen.cuts < FEWEST_CUTS * scale:
            return f"the readers that follow {one.mesh.spec.name} were cut only {one.seen.cuts} times"
        if one.seen.share(End.UNKNOWN) > MOST_UNKNOWN:
            return f"{one.seen.share(End.UNKNOWN):.1%} of the outcomes of {one.mesh.spec.name} are unknown"
        if one.seen.share(End.DONE) < LEAST_DONE:
            return f"only {one.seen.share(End.DONE):.1%} of the appends to {one.mesh.spec.name} were done"
    return ""


def _times(everything: Sequence[Ran], console: Console) -> list[Invariant]:
    kills = [seconds for one in everything for seconds in one.told.after_kill]
    terms = [seconds for one in everything for seconds in one.told.after_term]
    return [
        _time("temporal.writable_after_kill", kills, WRITABLE_AFTER_KILL, console),
        _time("temporal.writable_after_sigterm", terms, WRITABLE_AFTER_TERM, console),
    ]


def _time(name: str, seconds: Sequence[float], goal: float, console: Console) -> Invariant:
    ordered = sorted(seconds)
    p50, p95 = (ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.50, 0.95))
    console.print(f"{name}: p50 {p50:.2f} s, p95 {p95:.2f} s, longest {ordered[-1]:.2f} s", highlight=False)
    late = [f"p95 is {p95:.2f} s, more than {goal:g} s"] if p95 > goal else []
    return Invariant(name, len(ordered), len(ordered), late)
