# SPDX-License-Identifier: Apache-2.0
"""Keys that are parked are folded on when people have decided so: on stores in memory, with the records at hand."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from nerv.history.memory import MemoryHistory
from nerv.kafka import Received
from nerv.kafka.deadletters import Origin
from nerv.subscriptions import Books, Fact, Kind, State
from nerv.subscriptions.books import load
from nerv.subscriptions.deciding import discard, release
from nerv_projector.backlog import Backlog
from nerv_projector.batching import Sorter
from nerv_projector.folding import FoldSession
from nerv_projector.lanes import StartOver
from nerv_projector.model import since_of
from nerv_projector.parks import Parks
from tests.unit.projector.records_in_memory import Record
from tests.unit.projector.test_folding import EPOCH, HISTORY, Bench, done, rekeyed_trip, trip

SECONDS = 20.0
LOG = [trip("N1", 0), trip("N1", 1, 13), trip("N2", 2), trip("N1", 3, 2)]


def mended(state: dict[str, Any] | None, event: Any) -> dict[str, Any]:
    """Adds up, and takes thirteen minutes, too."""
    return {"minutes": (state or {"minutes": 0})["minutes"] + event.minutes}


async def backlog(bench: Bench, log: Sequence[Record], *keys: str) -> Backlog:
    """What has come for parked keys in a log of one partition."""
    views = await bench.views.load(EPOCH, keys)
    said = {key: view.parked or {} for key, view in views.items()}
    since = min(map(since_of, said.values()), key=lambda cursor: cursor.next_offset)
    sorter = Sorter(bench.hop.projection, EPOCH, {0: since}, bench.hop.skipped)
    return Backlog(sorter, reading(log), EPOCH, 0, since, {key: one["position"] for key, one in said.items()})


def reading(log: Sequence[Record]) -> Callable[[int, int, int], AsyncGenerator[Sequence[Received], None]]:
    """Reads a log one record at a time."""

    async def read(partition: int, start: int, until: int) -> AsyncGenerator[Sequence[Received], None]:
        for record in log:
            if start <= record.offset() < until:
                yield [record]

    return read


async def parked_bench(log: Sequence[Record] = LOG, name: str = "plane") -> tuple[Bench, FoldSession]:
    """A projection that has folded a log."""
    bench = Bench(name)
    session = await bench.open()
    await done(session, list(log))
    return bench, session


async def test_a_parked_key_is_folded_on_once_the_fold_takes_its_event() -> None:
    """With all that has come since, in order; what comes later is folded behind it, and nothing twice."""
    bench, session = await parked_bench()
    assert (await bench.states())["N1"] == (1, b'{"minutes":1}')
    bench.hop.projection.function = mended
    await session.mend(await backlog(bench, LOG, "N1"))
    await done(session, [trip("N1", 4, 5)])
    assert await bench.states() == {"N1": (4, b'{"minutes":21}'), "N2": (1, b'{"minutes":1}')}
    progress = await bench.views.progress(EPOCH)
    assert (progress.parked, progress.folded) == (0, 5)
    assert [(key, before, after) for key, before, after, _ in bench.told.changes if key == "N1"] == [
        ("N1", 0, 1),
        ("N1", 1, 3),
        ("N1", 3, 4),
    ]


async def test_a_key_that_fails_again_is_parked_again() -> None:
    """At the same event; its letter says that it was tried twice."""
    bench, session = await parked_bench()
    await session.mend(await backlog(bench, LOG, "N1"))
    view = (await bench.views.load(EPOCH, ["N1"]))["N1"]
    assert view.parked is not None
    assert (view.version, view.parked["position"], view.parked["attempt"]) == (1, f"{HISTORY}/0/1", "2")
    assert len(bench.letters.letters) == 2


async def test_a_key_that_fails_at_a_later_event_is_parked_there() -> None:
    """With all that is before it folded."""
    log = [*LOG, trip("N1", 4, 13)]
    bench, session = await parked_bench(log)
    bench.hop.skipped = lambda: {"e2"}
    await session.mend(await backlog(bench, log, "N1"))
    view = (await bench.views.load(EPOCH, ["N1"]))["N1"]
    assert view.parked is not None
    assert (view.version, view.state, view.parked["position"], view.parked["attempt"]) == (
        2, b'{"minutes":3}', f"{HISTORY}/0/4", "1",
    )  # fmt: skip


async def test_an_event_that_is_skipped_parks_no_longer() -> None:
    """Also where nothing came behind it."""
    log = LOG[:3]
    bench, session = await parked_bench(log)
    bench.hop.skipped = lambda: {"e2"}
    await session.mend(await backlog(bench, log, "N1"))
    assert (await bench.views.progress(EPOCH)).parked == 0
    await done(session, [trip("N1", 3, 2)])
    assert (await bench.states())["N1"] == (2, b'{"minutes":3}')


async def test_a_state_that_no_longer_fits_its_type_stops_nobody() -> None:
    """The key is not parked at the event that was skipped; the next one parks it again."""
    log = LOG[:3]
    bench, session = await parked_bench(log)
    bench.hop.skipped = lambda: {"e2"}

    def unfit(data: bytes) -> Any:
        raise ValueError("the type has changed")

    bench.hop.projection.load = unfit  # type: ignore[method-assign]
    await session.mend(await backlog(bench, log, "N1"))
    assert (await bench.views.progress(EPOCH)).parked == 0
    await done(session, [trip("N1", 3, 2)])
    view = (await bench.views.load(EPOCH, ["N1"]))["N1"]
    assert view.parked is not None
    assert (view.version, view.state, view.parked["cause"]) == (
        1, b'{"minutes":1}', "ValueError: the type has changed",
    )  # fmt: skip


async def test_of_two_owners_one_folds_on() -> None:
    """Whoever took the key for parked until then starts over, and nothing that comes for it is lost."""
    bench, first = await parked_bench()
    second, _ = await bench.hop.open(EPOCH, frozenset({0, 1}))
    assert isinstance(second, FoldSession)
    second.attach(SimpleNamespace(behind=False))  # type: ignore[arg-type]  # nothing else is asked of it
    bench.hop.projection.function = mended
    await first.mend(await backlog(bench, LOG, "N1"))
    with pytest.raises(StartOver):
        await done(second, [trip("N1", 4)])
    assert (await bench.states())["N1"] == (3, b'{"minutes":16}')


async def test_doubles_of_the_rekeyer_are_dropped_when_a_key_is_folded_on() -> None:
    """As they were when they came."""
    log = [
        rekeyed_trip("LAX", 0, ("now", 0, 1024)),
        rekeyed_trip("LAX", 1, ("now", 0, 2048)),
        rekeyed_trip("LAX", 2, ("now", 0, 1024)),
        rekeyed_trip("LAX", 3, ("now", 0, 4096)),
    ]
    bench = Bench("airports")
    right = bench.hop.projection.function

    def broken(state: Any, event: Any) -> Any:
        raise ValueError("not today")

    bench.hop.projection.function = broken
    session = await bench.open()
    await done(session, log)
    bench.hop.projection.function = right
    await session.mend(await backlog(bench, log, "LAX"))
    assert await bench.states() == {"LAX": (3, b'{"trips":3}')}


def made(bench: Bench, log: Sequence[Record], store: MemoryHistory, skipped: list[str]) -> Parks:
    """The parks of a projection, which add to `skipped` what is discarded."""

    async def skip(event: str) -> None:
        skipped.append(event)

    async def run(work: Any) -> None:
        await work()

    bench.hop.skipped = lambda: set(skipped)
    return Parks(bench.hop, SimpleNamespace(run=run), reading(log), store, skip)  # type: ignore[arg-type]  # a lane that is idle


@asynccontextmanager
async def keeping(parks: Parks, store: MemoryHistory) -> AsyncIterator[Books]:
    """Parks at work, and the books as people see them."""
    keeper = asyncio.create_task(parks.run(lambda: (EPOCH, frozenset({0, 1}))))
    try:
        async with asyncio.timeout(SECONDS), Books(store, "fold-plane") as books:
            yield books
    finally:
        keeper.cancel()
        await asyncio.wait({keeper})


@pytest.mark.parametrize("taken", [False, True])
async def test_letters_of_a_version_that_is_given_up_are_settled(taken: bool) -> None:
    """Those of the partitions that were folded here, and that nobody else has taken."""
    bench, _ = await parked_bench()
    store = MemoryHistory()
    parks = made(bench, LOG, store, [])
    async with keeping(parks, store) as books:
        await heard(books, lambda: len(books.ledger.letters) == 1)
    async with Books(store, "fold-plane") as books:
        if taken:
            await books.record([Fact(Kind.TAKEN, {"epoch": "another", "partitions": [f"{HISTORY}/0"]})])
    await parks.end(frozenset({0, 1}))
    assert len((await load(store, "fold-plane")).letters) == (1 if taken else 0)


async def heard(books: Books, condition: Callable[[], bool]) -> None:
    """Until the books say so."""
    while not condition():
        await books.changed.wait()
        books.changed.clear()


async def test_a_letter_that_is_replayed_has_its_key_folded_on() -> None:
    """The books have the letter of a parked key; released, it is folded, and the letter is settled."""
    bench, _ = await parked_bench()
    store = MemoryHistory()
    async with keeping(made(bench, LOG, store, []), store) as books:
        await heard(books, lambda: len(books.ledger.letters) == 1)
        [letter] = books.ledger.letters.values()
        assert (letter.origin, letter.key, letter.cause, letter.state) == (
            Origin(HISTORY, 0, 1), "N1", "ValueError: thirteen", State.DEAD,
        )  # fmt: skip
        bench.hop.projection.function = mended
        await books.decide(lambda ledger: release(ledger, "N1", "me"))
        await heard(books, lambda: not books.ledger.letters)
        assert (await bench.states())["N1"] == (3, b'{"minutes":16}')


async def test_a_letter_that_fails_again_is_dead_again() -> None:
    """With the number of attempts."""
    bench, _ = await parked_bench()
    store = MemoryHistory()
    async with keeping(made(bench, LOG, store, []), store) as books:
        await heard(books, lambda: len(books.ledger.letters) == 1)
        await books.decide(lambda ledger: release(ledger, "N1", "me"))
        await heard(books, lambda: [one.attempt for one in books.ledger.letters.values()] == [2])
        assert [one.state for one in books.ledger.letters.values()] == [State.DEAD]


async def test_a_letter_that_is_discarded_has_its_event_skipped() -> None:
    """By every fold; what came behind it is folded."""
    bench, _ = await parked_bench()
    store, skipped = MemoryHistory(), list[str]()
    async with keeping(made(bench, LOG, store, skipped), store) as books:
        await heard(books, lambda: len(books.ledger.letters) == 1)
        while "books" not in ((await bench.views.load(EPOCH, ["N1"]))["N1"].parked or {}):  # noqa: ASYNC110 - views tell nobody
            await asyncio.sleep(0)
        await books.decide(lambda ledger: discard(ledger, list(ledger.letters), "me", "wrong"))
        while (await bench.views.progress(EPOCH)).parked:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        assert (skipped, (await bench.states())["N1"]) == (["e2"], (2, b'{"minutes":3}'))
