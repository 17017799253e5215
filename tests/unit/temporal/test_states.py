# SPDX-License-Identifier: Apache-2.0
"""States of a stream as of any version and instant: with snapshots, late events and both bounds, always the plain fold."""

import asyncio
import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rocksdict import Options, Rdict
from structlog.testing import capture_logs

import nerv
from nerv.cloudevents.proto_format import to_us
from nerv.errors import NotFound, SchemaMismatch
from nerv.history import content_digest
from nerv.types import Event
from nerv_temporal.index import Index, PartitionState
from nerv_temporal.model import Stored
from nerv_temporal.states import StateQuery, state_of

START = datetime(2013, 1, 1, tzinfo=UTC)
STREAM = "chain-1"

app = nerv.App("chains")
app.snapshots(events=3)


@app.event("chain.linked.v1")
class Linked(nerv.Event):
    """A link, with enough words that a state is not heavier than three of them."""

    n: int
    words: str = "some words that weigh something"


@app.projection("chain", on=["chain.linked.v1"])
def chain(state: dict[str, Any] | None, event: Linked) -> dict[str, Any]:
    """A hash over all links: any other order, any gap and any repeat makes another one."""
    before = (state or {"hash": ""})["hash"]
    return {"hash": hashlib.sha256(f"{before}/{event.n}".encode()).hexdigest()[:16]}


def linked(version: int, hours: int, kind: str = "chain.linked.v1") -> Stored:
    """The event of a version, that happened so many hours after the start and was recorded at minute `version`."""
    data = Linked(n=version).model_dump_json().encode()
    event: Event[bytes] = Event(f"e{version}", "test", kind, START + timedelta(hours=hours), data)
    event = replace(event, subject=STREAM, sequence=version, recorded_time=START + timedelta(minutes=version))
    return Stored(event, content_digest(event))


def plain(events: Sequence[Stored], query: StateQuery) -> tuple[int, int, Any]:
    """What a fold of everything gives: highest version, events, state."""
    chosen = [
        e.event
        for e in events
        if (query.version is None or (e.event.sequence or 0) <= query.version)
        and (query.as_of is None or e.event.time <= query.as_of)
        and (query.known_at is None or (e.event.recorded_time or START) <= query.known_at)
    ]
    if query.as_of is not None:
        chosen.sort(key=lambda e: (e.time, e.sequence))
    state: Any = None
    for event in chosen:
        if event.type in app.folded(app.projections["chain"]):
            state = chain(state, app.decode(event))  # type: ignore[arg-type]  # it is a Linked
    return max((e.sequence or 0 for e in chosen), default=0), len(chosen), state


async def asked(index: Index, query: StateQuery) -> tuple[int, int, Any]:
    """The same by the index, and let what is kept be written."""
    found = await state_of(index, app, STREAM, query)
    await asyncio.sleep(0)
    return found["version"], found["events"], found["state"]


def grown(index: Index, events: Sequence[Stored]) -> None:
    """Append them."""
    placed = [(stored.event.sequence or 0, stored) for stored in events]
    index.apply(0, placed, PartitionState(placed[-1][0] + 1, to_us(START), "me"))


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """An empty one."""
    made = Index(tmp_path / "index", "topic")
    yield made
    made.close()


hours = st.integers(0, 12)
queries = st.builds(
    lambda version, as_of, known: StateQuery(
        None,
        version,
        None if as_of is None else START + timedelta(hours=as_of),
        None if known is None else START + timedelta(minutes=known),
    ),
    st.none() | st.integers(0, 45),
    st.none() | hours,
    st.none() | st.integers(0, 45),
)
kinds = st.sampled_from(["chain.linked.v1"] * 4 + ["chain.noted.v1"])
rounds = st.lists(
    st.tuples(st.lists(st.tuples(hours, kinds), min_size=1, max_size=9), st.lists(queries, max_size=5)), max_size=6
)


@settings(max_examples=60, deadline=None)
@given(rounds=rounds, in_order=st.booleans())
def test_every_state_is_that_of_the_plain_fold(
    rounds: list[tuple[list[tuple[int, str]], list[StateQuery]]], in_order: bool
) -> None:
    """Appends and reads in turns, in time or late, by every bound: snapshots of earlier reads never change an answer."""
    with tempfile.TemporaryDirectory() as folder:
        index = Index(Path(folder) / "index", "topic")
        history: list[Stored] = []

        async def play() -> None:
            for arrivals, reads in rounds:
                times = sorted(h for h, _ in arrivals) if in_order else [h for h, _ in arrivals]
                new = [
                    linked(len(history) + n, at, kind)
                    for n, (at, (_, kind)) in enumerate(zip(times, arrivals, strict=True), 1)
                ]
                grown(index, new)
                history.extend(new)
                for query in reads:
                    assert await asked(index, query) == plain(history, query)
            for query in [query for _, reads in rounds for query in reads]:
                expected = plain(history, query)
                assert await asked(index, query) == expected
                index.snapshots.drop()
                assert await asked(index, query) == expected

        asyncio.run(play())
        index.close()


async def test_a_fold_begins_at_the_nearest_snapshot(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it was folded, only what stands behind the last snapshot is, by version as by time."""
    grown(index, [linked(n, n) for n in range(1, 101)])
    folded: list[int] = []
    original = Linked.model_validate_json

    def counting(data: bytes) -> Any:
        folded.append(1)
        return original(data)

    monkeypatch.setattr(Linked, "model_validate_json", counting)
    for query in (StateQuery(), StateQuery(as_of=START + timedelta(hours=90)), StateQuery(version=50)):
        await asked(index, query)
        folded.clear()
        await asked(index, query)
        assert len(folded) <= 3
    assert index.snapshots.count() > 50


async def test_an_event_that_comes_late_voids_what_it_belongs_into(index: Index) -> None:
    """Also when it arrives between a fold and the writing of what the fold keeps."""
    events = [linked(n, 2 * n) for n in range(1, 31)]
    grown(index, events)
    query = StateQuery(as_of=START + timedelta(hours=60))
    await state_of(index, app, STREAM, query)
    events.append(linked(31, 21))
    grown(index, events[-1:])  # the loop has not yet written what was kept
    await asyncio.sleep(0)
    assert index.snapshots.count() == 0
    assert await asked(index, query) == plain(events, query)
    before = index.snapshots.count()
    events.append(linked(32, 41))
    grown(index, events[-1:])
    assert 0 < index.snapshots.count() < before
    assert await asked(index, query) == plain(events, query)


@pytest.mark.parametrize("by", [StateQuery(), StateQuery(as_of=START + timedelta(hours=99))])
async def test_a_snapshot_cut_short_is_passed_over_and_said(tmp_path: Path, by: StateQuery) -> None:
    """Damaged ones, too: the fold begins further back, the answer is the same, and the broken one is gone."""
    index = Index(tmp_path / "index", "topic")
    events = [linked(n, n) for n in range(1, 31)]
    grown(index, events)
    await asked(index, by)
    index.close()
    with Rdict(str(tmp_path / "index"), Options(raw_mode=True)) as db:
        found = {key: value for key, value in db.items() if key[:1] in b"nv"}
        for number, (key, value) in enumerate(found.items()):
            db[key] = value[: len(value) // 2] if number % 2 else value[:-1] + bytes([value[-1] ^ 1])
    again = Index(tmp_path / "index", "topic")
    with capture_logs() as logs:
        assert await asked(again, by) == plain(events, by)
    assert [line["event"] for line in logs] == ["snapshot.broken"] * len(found)
    assert len(found) == 10
    again.close()


async def test_a_fold_that_fails_says_where(index: Index) -> None:
    """Stream, version and what was raised; and a stream that does not exist is not found."""
    broken = nerv.App("chains")
    broken.event("chain.linked.v1")(Linked)

    @broken.projection("chain", on=["chain.linked.v1"])
    def fails(state: int | None, event: Linked) -> int:
        return 1 // (2 - event.n)

    grown(index, [linked(n, n) for n in range(1, 4)])
    with pytest.raises(SchemaMismatch, match="chain fails at chain-1 version 2: ZeroDivisionError"):
        await state_of(index, broken, STREAM, StateQuery())
    with pytest.raises(NotFound):
        await state_of(index, app, "chain-2", StateQuery())
