# SPDX-License-Identifier: Apache-2.0
"""States of a stream as of any version and instant, with and without snapshots, and what changes them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import nerv
from nerv.app import SnapshotPolicy
from nerv.errors import Invalid, NotFound
from nerv.history.store import TemporalStore
from nerv.projections import StateProjector
from nerv.protocols import Appended, AppendRequest
from nerv.state import thaw
from nerv.testing.clock import ManualClock
from nerv.types import Event, category_of, new_event_id

START = datetime(2013, 1, 1, tzinfo=UTC)

app = nerv.App("bank")


@app.event("account.paid.v1")
class Paid(nerv.Event):
    """Money came or went."""

    cents: int
    by: str = "nobody"


@app.event("account.noted.v1")
class Noted(nerv.Event):
    """A remark, which no balance depends on."""

    text: str


@app.projection("balance", on=["account.paid.v1"], category="account")
def balance(state: dict[str, Any] | None, event: Paid) -> dict[str, Any]:
    """How much there is, and what came last."""
    before = state or {"cents": 0, "payments": 0}
    return {"cents": before["cents"] + event.cents, "payments": before["payments"] + 1, "last": event.cents}


@app.projection("payers", on=["account.paid.v1"], key="by")
def payers(state: int | None, event: Paid) -> int:
    """How much each has paid, over all accounts."""
    return (state or 0) + event.cents


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TemporalStore]:
    """A store of each kind, whose snapshots are frequent; its clock is at `clock`."""
    clock = ManualClock(START)
    made = (
        TemporalStore.in_memory(clock, policy=SnapshotPolicy(events=5))
        if request.param == "memory"
        else TemporalStore.sqlite(tmp_path / "store.db", clock, policy=SnapshotPolicy(events=5))
    )
    made.clock = clock  # type: ignore[attr-defined]  # for the tests
    async with made:
        yield made


def tick(store: TemporalStore, seconds: float = 1.0) -> datetime:
    """Let time go on; answers the instant before."""
    clock: ManualClock = store.clock  # type: ignore[attr-defined]
    now = clock.now()
    clock.advance(seconds)
    return now


async def pay(store: TemporalStore, *cents: int, account: str = "1", at: datetime = START, by: str = "nobody") -> None:
    """Append payments, a second apart in recorded time."""
    for amount in cents:
        model = Paid(cents=amount, by=by)
        event = Event(new_event_id(), "test", "account.paid.v1", at, model.model_dump_json().encode())
        [outcome] = await store.append([AppendRequest(f"account-{account}", [event])])
        assert isinstance(outcome, Appended)
        tick(store)


async def test_a_state_at_every_version_with_and_without_snapshots(store: TemporalStore) -> None:
    """Whatever is asked first, and after all snapshots are gone, the answers are those of the plain sum."""
    amounts = [1, 20, -3, 400, 5, 60, 7, 80, 9, 10, 11, 12]
    await pay(store, *amounts)
    projector: StateProjector[dict[str, Any]] = StateProjector(app, "balance", store, cache=1)

    async def check() -> None:
        for version in (12, 3, 7, 1, 12, 6):
            found = await projector.state("1", version=version)
            assert found.version == version
            assert found.state is not None
            assert found.state["cents"] == sum(amounts[:version])

    await check()
    assert store.describe().counters["snapshots_made"] > 0
    assert store.describe().counters["snapshots_used"] > 0
    assert store.snapshots is not None
    assert await store.snapshots.drop() > 0
    await check()


async def test_as_of_folds_by_when_it_happened(store: TemporalStore) -> None:
    """What was recorded late but happened early counts, in its place."""
    await pay(store, 5, at=START + timedelta(days=2))
    await pay(store, 7, at=START + timedelta(days=1))
    projector: StateProjector[dict[str, Any]] = StateProjector(app, "balance", store)
    found = [await projector.state("1", as_of=START + timedelta(days=days)) for days in (0, 1, 2)]
    assert [None if f.state is None else (f.state["cents"], f.state["last"]) for f in found] == [None, (7, 7), (12, 5)]


async def test_known_at_is_what_was_recorded_then(store: TemporalStore) -> None:
    """And both times together: what was known at an instant to have happened by another."""
    await pay(store, 1, at=START + timedelta(days=2))
    known = tick(store)
    await pay(store, 10, at=START + timedelta(days=1))
    projector: StateProjector[dict[str, Any]] = StateProjector(app, "balance", store)
    latest = await projector.state("1")
    then = await projector.state("1", known_at=known)
    both = await projector.state("1", known_at=known, as_of=START + timedelta(days=1))
    assert [f.state and f.state["cents"] for f in (latest, then, both)] == [11, 1, None]
    with pytest.raises(Invalid, match="future"):
        await projector.state("1", known_at=START + timedelta(days=300))


async def test_only_what_is_needed_is_loaded(store: TemporalStore) -> None:
    """Events of other types are not folded, and a state that is held is not folded again."""
    noted = [Event(new_event_id(), "test", "account.noted.v1", START, b'{"text": "x"}') for _ in range(50)]
    await pay(store, 1)
    await store.append([AppendRequest("account-1", noted)])
    await pay(store, 2)
    projector: StateProjector[dict[str, Any]] = StateProjector(app, "balance", store)
    assert (await projector.state("1")).version == 52
    assert store.describe().counters["folded"] == 2
    await projector.state("1")
    assert store.describe().counters["folded"] == 2


async def test_what_does_not_exist_is_not_found(store: TemporalStore) -> None:
    """A key without an event, and a projection that the app lacks."""
    with pytest.raises(NotFound):
        await StateProjector[Any](app, "balance", store).state("none")
    with pytest.raises(NotFound):
        await StateProjector[Any](app, "payers", store).state("none")
    with pytest.raises(NotFound, match="balance, payers"):
        StateProjector[Any](app, "other", store)


async def test_a_rekeyed_projection_gathers_over_streams(store: TemporalStore) -> None:
    """Its version counts the events folded."""
    await pay(store, 1, 2, account="1", by="ann")
    await pay(store, 30, account="2", by="ann")
    await pay(store, 400, account="2", by="bob")
    projector: StateProjector[int] = StateProjector(app, "payers", store)
    found = await projector.state("ann")
    assert (found.state, found.version) == (33, 3)
    assert (await projector.state("ann", version=2)).state == 3
    assert (await projector.state("bob")).state == 400


async def test_deltas_lead_from_each_state_to_the_next(store: TemporalStore) -> None:
    """Applied one after the other to nothing they give the state."""
    await pay(store, 1, 20, 300)
    projector: StateProjector[dict[str, Any]] = StateProjector(app, "balance", store)
    changes = [change async for change in projector.deltas("1")]
    state: Any = None
    for change in changes:
        state = change.delta.apply(state)
    assert thaw(state) == (await projector.state("1")).state == {"cents": 321, "payments": 3, "last": 300}
    assert [(c.from_version, c.to_version) for c in changes] == [(0, 1), (1, 2), (2, 3)]
    assert [c.to_version async for c in projector.deltas("1", after=2)] == [3]


async def test_a_projector_that_is_fed_says_what_changed_once(store: TemporalStore) -> None:
    """A repeated event changes nothing, a gap is filled from the store, and other types pass by."""
    await pay(store, 1, 20)
    await store.append([AppendRequest("account-1", [Event("n", "test", "account.noted.v1", START, b'{"text": "x"}')])])
    await pay(store, 300, 4000)
    events = [event async for event in store.read("account-1")]
    projector: StateProjector[dict[str, Any]] = StateProjector(app, "balance", store)
    order = (0, 0, 2, 3, 1, 4)
    found = [[(c.from_version, c.to_version) for c in await projector.take(events[n])] for n in order]
    assert found == [[(0, 1)], [], [], [(1, 2), (2, 4)], [], [(4, 5)]]
    assert projector.describe().counters == {"taken": 3, "deltas": 4}


async def test_a_store_in_a_file_is_there_again(tmp_path: Path) -> None:
    """With its events and its snapshots."""
    clock = ManualClock(START)
    async with TemporalStore.sqlite(tmp_path / "s.db", clock, policy=SnapshotPolicy(events=2)) as store:
        store.clock = clock  # type: ignore[attr-defined]
        await pay(store, 1, 2, 3)
        await StateProjector[Any](app, "balance", store).state("1")
    async with TemporalStore.sqlite(tmp_path / "s.db", clock, policy=SnapshotPolicy(events=2)) as again:
        found = await StateProjector[Any](app, "balance", again).state("1")
        assert found.state is not None
        assert found.state["cents"] == 6
        assert again.describe().counters["folded"] == 0
        assert category_of(found.id) == "account"


async def test_a_changed_fold_uses_no_state_of_the_old_one(tmp_path: Path) -> None:
    """Also where only what it calls has changed: the snapshots in the file are passed over."""
    rates = {"rate": 1}
    found: list[tuple[int | None, int]] = []
    for rate in (1, 10, 1):
        rates["rate"] = rate
        changed = nerv.App("bank")
        changed.event("account.paid.v1")(Paid)
        changed.projection("balance", on=["account.paid.v1"], category="account")(
            lambda state, event: (state or 0) + event.cents * rates["rate"]
        )
        async with TemporalStore.sqlite(
            tmp_path / "s.db", ManualClock(START), policy=SnapshotPolicy(events=2)
        ) as store:
            store.clock = ManualClock(START)  # type: ignore[attr-defined]
            if not found:
                await pay(store, 1, 2, 3)
            state = (await StateProjector[int](changed, "balance", store).state("1")).state
            found.append((state, store.describe().counters["folded"]))
    assert found == [(6, 3), (60, 3), (6, 0)]
