# SPDX-License-Identifier: Apache-2.0
"""Runs over a history in memory: what one does, what two do to each other, and what is left when one dies."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

import nerv
from nerv.errors import IdConflict, Misconfigured, NotFound, SchemaMismatch, Unavailable, UnknownOutcome
from nerv.protocols import AppendOutcome, AppendRequest, History, Latest, ReadQuery
from nerv.sync import DeletesUnconfirmed, LoadRefused, RowsSource, RunUnderWay
from nerv.sync.sides.source import in_thread
from nerv.sync.synchronizer import DiffSynchronizer
from nerv.types import Event, EventType, new_event_id, utc_now
from nerv_sync.journal import Claim
from nerv_sync.model import Order
from nerv_sync.pairs import Pairs
from nerv_sync.settings import RunSettings
from nerv_sync.threads import Threads
from tests.unit.sync.bench import SETTINGS, Stage


class Fleet(RowsSource):
    """The planes that a test puts here."""

    category = "plane"
    key = "tailnum"
    planes: Mapping[str, object]

    def rows(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Each plane."""
        for number, (tail, seats) in enumerate(self.planes.items(), start=1):
            yield f"row {number}", {"tailnum": tail, "seats": seats}


class Bench(Stage):
    """The app has the source `planes`."""

    def __init__(self) -> None:
        super().__init__()
        self.source: type[Fleet] = type("Planes", (Fleet,), {"planes": {}})
        self.app.source("planes")(self.source)

    def load(self, planes: Mapping[str, object]) -> None:
        """What the outside system holds from now on."""
        self.source.planes = planes

    async def sync(self, history: History | None = None) -> DiffSynchronizer:
        """The synchronizer of the source."""
        return (await self.synchronizers(history).open("planes")).synchronizer

    async def write(self, stream: str, kind: str = "plane.painted.v1") -> None:
        """Another writer appends an event."""
        await self.history.append([AppendRequest(stream, [Event(new_event_id(), "x", kind, utc_now(), b"{}")])])

    async def versions(self) -> dict[str, int]:
        """The version of each stream of the category."""
        return {e.stream: e.sequence or 0 async for e in self.history.read_category("plane")}


@pytest.fixture
def bench() -> Bench:
    """A new one for each test."""
    return Bench()


class Stumbling:
    """A history that goes through another and answers the given batches otherwise, as when the connection breaks.

    `before` happens instead of the append, `after` after it was done.
    """

    def __init__(self, history: History, *, before: Mapping[int, Exception], after: Mapping[int, Exception]) -> None:
        self._history = history
        self._before = before
        self._after = after
        self._batch = 0

    async def append(self, requests: Sequence[AppendRequest]) -> list[AppendOutcome]:
        """Append, or stumble."""
        self._batch += 1
        if self._batch in self._before:
            raise self._before[self._batch]
        outcomes = await self._history.append(requests)
        if self._batch in self._after:
            raise self._after[self._batch]
        return outcomes

    def read(self, stream: str, query: ReadQuery = ReadQuery()) -> AsyncIterator[Event[bytes]]:
        """As the other reads."""
        return self._history.read(stream, query)

    def read_category(self, category: str | None, query: ReadQuery = ReadQuery()) -> AsyncIterator[Event[bytes]]:
        """As the other reads."""
        return self._history.read_category(category, query)

    async def latest(self, streams: Sequence[str], types: frozenset[str] = frozenset()) -> list[Latest]:
        """As the other does."""
        return await self._history.latest(streams, types)


def fleet(count: int) -> dict[str, int]:
    """So many planes."""
    return {f"N{n:04d}": n for n in range(count)}


async def test_two_runs_that_made_the_same_plan_change_once(bench: Bench) -> None:
    """Both see the same version and the same content: the same ids, though the source gave them different times."""
    bench.load(fleet(10))
    syncs = [await bench.sync() for _ in range(2)]
    plans = [await sync.plan() for sync in syncs]
    first, second = (plan.steps[0].stamp for plan in plans)
    assert first is not None
    assert second is not None
    assert first < second
    for sync, plan in zip(syncs, plans, strict=True):
        tally = await sync.apply(plan)
        assert (tally.status, tally.done) == ("done", 10)
    assert set((await bench.versions()).values()) == {1}


async def test_an_unknown_batch_ends_the_run_and_the_next_one_completes_it(bench: Bench) -> None:
    """What may have happened is called unknown, the rest is left untried; a later run finds out and changes each once."""
    bench.load(fleet(1300))
    stumbling = Stumbling(bench.history, before={}, after={2: UnknownOutcome("no answer")})
    async with bench.replica(stumbling) as runs:
        first = await runs.order(Order("planes", "r"))
        assert (first["status"], first["outcomes"]) == (
            "unknown",
            {"done": 500, "refused": 0, "unknown": 500, "untried": 300},
        )
        second = await runs.order(Order("planes", "s"))
    assert (second["status"], second["summary"]["create"]) == ("done", 300)
    assert set((await bench.versions()).values()) == {1}


async def test_a_run_that_cannot_go_on_is_completed_by_the_same_order(bench: Bench) -> None:
    """History is away after the first batch: the order is answered so; repeated, it completes the run, each change once."""
    bench.load(fleet(1300))
    stumbling = Stumbling(bench.history, before={2: Unavailable("away")}, after={})
    async with bench.replica(stumbling) as runs:
        with pytest.raises(Unavailable):
            await runs.order(Order("planes", "r"))
        assert (await bench.journal().show("planes", "r"))["status"] == "running"
        document = await runs.order(Order("planes", "r"))
    assert (document["status"], document["attempt"], document["outcomes"]["done"]) == ("done", 2, 1300)
    assert document["resumed"] == 500
    objects = [event async for event in bench.history.read("sync-planes/r")]
    assert [event.type for event in objects].count(EventType.SYNC_PLANNED) == 1
    assert len(await bench.versions()) == 1300


async def test_a_replica_that_goes_down_leaves_its_run_to_others_at_once(bench: Bench) -> None:
    """A run is stopped between two batches by a shutdown: it says so, and another replica needs not wait for a silence."""
    bench.load(fleet(1300))
    reached, never = asyncio.Event(), asyncio.Event()

    class Stopping(Stumbling):
        async def append(self, requests: Sequence[AppendRequest]) -> list[AppendOutcome]:
            if self._batch == 1:
                reached.set()
                await never.wait()
            return await super().append(requests)

    async with bench.replica(Stopping(bench.history, before={}, after={})) as runs:
        ordered = asyncio.create_task(runs.order(Order("planes", "r")))
        await reached.wait()
    with pytest.raises(Unavailable, match="going down"):
        await ordered
    patient = RunSettings(heartbeat_seconds=0.05, silence_seconds=600)
    async with bench.replica(settings=patient) as runs, asyncio.timeout(60):
        document = await runs.order(Order("planes", "other"))
    assert document["outcomes"]["done"] == 800
    assert [r["status"] for r in await bench.journal().runs("planes")] == ["done", "interrupted"]


async def test_a_run_without_a_sign_of_life_is_taken_over(bench: Bench) -> None:
    """Its replica was killed: after the silence another run opens; what the first would still write is refused its place."""
    bench.load(fleet(3))
    dead = bench.journal()
    claim = await dead.claim(Order("planes", "dead"), lambda run: False)
    assert isinstance(claim, Claim)
    async with bench.replica() as runs:
        begun = asyncio.get_running_loop().time()
        await runs.order(Order("planes", "next"))
        assert asyncio.get_running_loop().time() - begun >= SETTINGS.silence_seconds
    await dead.finish(claim, {"run": "dead", "status": "done"})
    assert [(r["run"], r["status"]) for r in await dead.runs("planes")] == [("next", "done"), ("dead", "interrupted")]
    assert (await dead.show("planes", "dead"))["status"] == "done"


async def test_a_run_that_lives_is_not_taken_over(bench: Bench) -> None:
    """While it gives signs of life others are refused, on its replica and elsewhere; when it is over they are let in."""
    journal, elsewhere = bench.journal(), bench.journal()
    claim = await journal.claim(Order("planes", "first"), lambda run: False)
    assert isinstance(claim, Claim)
    async with journal.alive(claim, lambda: {"done": 0}):
        with pytest.raises(RunUnderWay, match="first"):
            await elsewhere.claim(Order("planes", "second"), lambda run: False)
        with pytest.raises(RunUnderWay, match="first"):
            await journal.claim(Order("planes", "second"), lambda run: run == "first")
        await journal.finish(claim, {"run": "first", "status": "done"})
    assert isinstance(await elsewhere.claim(Order("planes", "second"), lambda run: False), Claim)


async def test_a_run_is_finished_once(bench: Bench) -> None:
    """Two attempts of one run end: the first document stays, and both answer it."""
    journal = bench.journal()
    claim = await journal.claim(Order("planes", "r"), lambda run: False)
    assert isinstance(claim, Claim)
    first = await journal.finish(claim, {"run": "r", "status": "done", "n": 1})
    second = await journal.finish(replace(claim, attempt=2), {"run": "r", "status": "done", "n": 2})
    assert first == second == {"run": "r", "status": "done", "n": 1}


async def test_a_late_sign_of_life_hides_no_document(bench: Bench) -> None:
    """A sign that was on its way comes after the document: the run is over all the same, for everybody at once."""
    journal, elsewhere = bench.journal(), bench.journal()
    claim = await journal.claim(Order("planes", "r"), lambda run: False)
    assert isinstance(claim, Claim)
    finished = await journal.finish(claim, {"run": "r", "status": "done"})
    late = Event(new_event_id(), "nerv:sync", EventType.SYNC_APPLIED, utc_now(), b'{"done":1,"attempt":1}')
    await bench.history.append([AppendRequest("sync-planes/r", [late])])
    async with asyncio.timeout(SETTINGS.silence_seconds):
        assert await elsewhere.claim(Order("planes", "r"), lambda run: False) == finished
        assert await elsewhere.show("planes", "r") == finished
        assert isinstance(await elsewhere.claim(Order("planes", "s"), lambda run: False), Claim)


async def test_a_source_that_hangs_is_given_up_and_takes_no_more_than_its_thread(bench: Bench) -> None:
    """The load is refused after its time; the thread keeps its place until it ends, so that no others pile up."""
    gate = threading.Event()

    class Hanging(Fleet):
        def rows(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
            gate.wait(30)
            yield from super().rows()

    bench.app.source("hanging")(type("Hanging", (Hanging,), {"category": "hangar", "planes": fleet(1)}))
    settings = SETTINGS.model_copy(update={"load_seconds": 0.1})
    threads = bench.threads
    opened = await bench.synchronizers(settings=settings).open("hanging")
    for _ in range(2):
        with pytest.raises(LoadRefused, match="not read within"):
            await opened.synchronizer.plan()
    assert sum(thread.name == "sync" and thread.is_alive() for thread in threading.enumerate()) == 1
    gate.set()
    async with asyncio.timeout(5):
        assert await threads.run(lambda check: "free again") == "free again"


async def test_threads_stop_when_they_are_told_to() -> None:
    """Work that goes on and on ends at its next check; the end waits for it."""
    begun = threading.Event()

    def endless(check: Callable[[], None]) -> None:
        while True:
            begun.set()
            check()

    async with asyncio.timeout(3), Threads(1) as threads:
        working = asyncio.create_task(threads.run(endless))
        await asyncio.to_thread(begun.wait)
    with pytest.raises(Unavailable):
        await working


async def test_names_with_dashes_and_slashes_do_not_share_streams(bench: Bench) -> None:
    """Run `b-c` of source `a` is not run `c` of source `a-b`."""
    journal = bench.journal()
    for source, run in (("a", "b-c"), ("a-b", "c")):
        claim = await journal.claim(Order(source, run), lambda run: False)
        assert isinstance(claim, Claim)
        await journal.finish(claim, {"run": run, "sync": source, "status": "done"})
    assert [(await journal.show(s, r))["sync"] for s, r in (("a", "b-c"), ("a-b", "c"))] == ["a", "a-b"]
    with pytest.raises(NotFound):
        await journal.show("a", "c")


async def test_refusals_are_kept_and_repeated(bench: Bench) -> None:
    """The load was refused, or the guard: nothing changes, the journal has it, and the same order gets it again."""
    bench.load({})
    async with bench.replica() as runs:
        for _ in range(2):
            with pytest.raises(LoadRefused, match="empty"):
                await runs.order(Order("planes", "empty"))
        bench.load(fleet(10))
        await runs.order(Order("planes", "ten"))
        bench.load(fleet(5))
        for _ in range(2):
            with pytest.raises(DeletesUnconfirmed):
                await runs.order(Order("planes", "five"))
        with pytest.raises(IdConflict):
            await runs.order(Order("planes", "five", confirm_deletes=True))
        assert len(await bench.versions()) == 10
        assert (await runs.order(Order("planes", "again", confirm_deletes=True)))["summary"]["delete"] == 5
    statuses = [(r["run"], r["status"]) for r in await bench.journal().runs("planes")]
    assert statuses == [("again", "done"), ("five", "refused"), ("ten", "done"), ("empty", "refused")]


async def test_what_the_apps_model_refuses_changes_nothing(bench: Bench) -> None:
    """The app declares `plane.created.v1` and one row does not fit: the whole run is refused before the first append."""

    @bench.app.event("plane.created.v1")
    class Created(nerv.Event):
        tailnum: str
        seats: int

    bench.load({**fleet(3), "N9": "many"})
    async with bench.replica() as runs:
        for dry_run in (True, False):
            with pytest.raises(SchemaMismatch, match="plane-N9"):
                await runs.order(Order("planes", f"r{dry_run}", dry_run))
    assert await bench.versions() == {}


async def test_a_run_that_takes_long_is_answered_before_its_end(bench: Bench) -> None:
    """After `answer_seconds` the order is told that the run goes on; the same order later gets its document."""
    bench.load(fleet(3))
    gate = asyncio.Event()

    class Slow(Stumbling):
        async def append(self, requests: Sequence[AppendRequest]) -> list[AppendOutcome]:
            await gate.wait()
            return await super().append(requests)

    settings = SETTINGS.model_copy(update={"answer_seconds": 0.05})
    async with bench.replica(Slow(bench.history, before={}, after={}), settings) as runs:
        assert (await runs.order(Order("planes", "r")))["status"] == "running"
        gate.set()
        async with asyncio.timeout(5):
            while (document := await runs.order(Order("planes", "r")))["status"] == "running":
                pass
    assert document["outcomes"]["done"] == 3


@pytest.mark.parametrize(
    ("name", "category", "words"),
    [("a/b", "plane", "name"), ("planes", "plane-x", "category"), ("planes", "sync", "category")],
)
def test_a_source_that_cannot_work_is_refused_at_the_start(name: str, category: str, words: str) -> None:
    """Names and categories that would make streams ambiguous; the text says which."""
    app = nerv.App("fleet")
    app.source(name)(type("Planes", (Fleet,), {"category": category}))
    with pytest.raises(Misconfigured, match=words):
        Pairs(app, 10, in_thread)


def test_sources_that_would_undo_each_other_are_refused_at_the_start() -> None:
    """Two sources of one category: each would delete what only the other has."""
    app = nerv.App("fleet")
    for name in ("one", "two"):
        app.source(name)(type("Planes", (Fleet,), {}))
    with pytest.raises(Misconfigured, match="both"):
        Pairs(app, 10, in_thread)


def test_what_is_no_source_is_refused_at_the_start() -> None:
    """A class without the attributes or without rows."""
    for thing in (type("Nothing", (), {}), type("NoRows", (RowsSource,), {"category": "a", "key": "b"})):
        app = nerv.App("fleet")
        app.source("planes")(thing)
        with pytest.raises(Misconfigured, match="planes"):
            Pairs(app, 10, in_thread)
