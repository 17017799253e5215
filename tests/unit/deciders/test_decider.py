# SPDX-License-Identifier: Apache-2.0
"""Deciders: the rules of an app, run over a history whose writers compete."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import nerv
from nerv.deciders import Refusal
from nerv.deciders.decider import Decider
from nerv.errors import Misconfigured, NotFound, Rejected, TooLarge, Unavailable, UnknownOutcome, VersionConflict
from nerv.history.memory import MemoryHistory
from nerv.history.sqlite import SqliteHistory
from nerv.protocols import AppendOutcome, AppendRequest, History
from nerv.testing.deciders import given

SEATS = 3
app = nerv.App("theatre")


@app.event("show.booked.v1")
class Booked(nerv.Event):
    """A seat was booked."""

    guest: str


@app.event("show.sold-out.v1")
class SoldOut(nerv.Event):
    """The last seat is gone."""


@dataclass(frozen=True)
class Book:
    """Somebody wants a seat."""

    guest: str


@app.projection("show", on=["show.booked.v1"])
def show(state: list[str] | None, event: Booked) -> list[str]:
    """Who has a seat."""
    return [*(state or []), event.guest]


@app.decider("show")
def book(state: list[str] | None, command: Book) -> Any:
    """A seat for each guest, as long as there are some."""
    guests = state or []
    if command.guest in guests:
        return None
    if command.guest == "nonsense":
        return 3
    if len(guests) >= SEATS:
        return nerv.refuse("sold-out", f"all {SEATS} seats are taken", seats=SEATS)
    booked = Booked(guest=command.guest)
    return [booked, SoldOut()] if len(guests) + 1 == SEATS else booked


@pytest.fixture(params=["memory", "sqlite"])
async def history(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[History]:
    """A history of each kind."""
    if request.param == "memory":
        yield MemoryHistory()
        return
    async with SqliteHistory(tmp_path / "h.db") as made:
        yield made


def test_given_when_then() -> None:
    """The rules, without anything that stores."""
    given(app, "show").when(Book("ann")).then(Booked(guest="ann"))
    given(app, "show", Booked(guest="ann")).when(Book("ann")).then()
    full = given(app, "show", Booked(guest="a"), Booked(guest="b"), Booked(guest="c"), SoldOut())
    assert full.when(Book("d")).then_refused("sold-out").facts == {"seats": 3}
    given(app, "show", Booked(guest="a"), Booked(guest="b")).when(Book("c")).then(Booked(guest="c"), SoldOut())


def test_the_helper_fails_where_it_should() -> None:
    """A test that cannot fail proves nothing."""
    outcome = given(app, "show").when(Book("ann"))
    for wrong in (lambda: outcome.then(), lambda: outcome.then(SoldOut()), lambda: outcome.then_refused("sold-out")):
        with pytest.raises(AssertionError):
            wrong()
    full = given(app, "show", *[Booked(guest=g) for g in "abc"]).when(Book("d"))
    with pytest.raises(AssertionError):
        full.then_refused("other")


async def test_a_command_is_recorded_with_what_caused_it(history: History) -> None:
    """Its events name the command as their cause; the stream is that of the entity."""
    decided = await Decider(app, "show", history).decide("hamlet", Book("ann"), id="c-1")
    assert (decided.events, decided.version, decided.duplicate) == ((Booked(guest="ann"),), 1, False)
    [event] = [event async for event in history.read("show-hamlet")]
    assert (event.causation_id, event.correlation_id, event.source) == ("c-1", "c-1", "nerv:theatre/show")


async def test_a_command_is_decided_once(history: History) -> None:
    """Under the same id it gets its first answer, also when the rules would now say no."""
    decider = Decider(app, "show", history)
    first = await decider.decide("hamlet", Book("ann"), id="c-1")
    for guest in "bc":
        await decider.decide("hamlet", Book(guest))
    again = await decider.decide("hamlet", Book("ann"), id="c-1")
    assert (again.events, again.version, again.duplicate) == (first.events, 1, True)
    assert (await decider.decide("hamlet", Book("ann"))).events == ()
    assert [event.sequence async for event in history.read("show-hamlet")] == [1, 2, 3, 4]


async def test_a_refusal_is_typed_and_writes_nothing(history: History) -> None:
    """With the code of the rule and its facts."""
    decider = Decider(app, "show", history)
    for guest in "abc":
        await decider.decide("hamlet", Book(guest))
    with pytest.raises(Rejected) as caught:
        await decider.decide("hamlet", Book("d"))
    assert (caught.value.code, caught.value.errors) == ("sold-out", [{"code": "sold-out", "seats": 3}])
    assert len([event async for event in history.read("show-hamlet")]) == 4
    assert decider.describe().counters == {"decided": 3, "rejected": 1, "conflicts": 0}


async def test_of_many_who_compete_as_many_win_as_there_are_seats(history: History) -> None:
    """Conflicts are decided anew; nobody is booked twice or beyond the rules."""
    deciders = [Decider(app, "show", history) for _ in range(4)]
    commands = [deciders[n % 4].decide("hamlet", Book(f"guest-{n}")) for n in range(12)]
    outcomes = await asyncio.gather(*commands, return_exceptions=True)
    assert sum(isinstance(outcome, Rejected) for outcome in outcomes) == 12 - SEATS
    assert [event.type async for event in history.read("show-hamlet")] == ["show.booked.v1"] * 3 + ["show.sold-out.v1"]


class Moody(MemoryHistory):
    """A history whose appends end in other ways first; `after` ones are kept nevertheless."""

    def __init__(self, *errors: Exception, kept: bool = False) -> None:
        super().__init__()
        self.errors, self.kept = list(errors), kept

    async def append(self, requests: Sequence[AppendRequest]) -> list[AppendOutcome]:
        """The next error, or what the memory does."""
        if not self.errors:
            return await super().append(requests)
        if self.kept:
            await super().append(requests)
        raise self.errors.pop(0)


@pytest.mark.parametrize("kept", [False, True])
async def test_an_unknown_outcome_is_found_out(kept: bool) -> None:
    """Whether the append had happened or not, its events are there once in the end."""
    history = Moody(UnknownOutcome("who knows"), UnknownOutcome("still"), kept=kept)
    decided = await Decider(app, "show", history).decide("hamlet", Book("ann"), id="c-1")
    assert decided.events == (Booked(guest="ann"),)
    assert [event.id async for event in history.read("show-hamlet")] == ["c-1/0"]


async def test_when_time_runs_out_the_last_error_comes_out() -> None:
    """And the deadline holds for all attempts together."""
    for error in (Unavailable("not now", retry_after=60), VersionConflict("somebody else")):
        with pytest.raises(type(error)):
            await Decider(app, "show", Moody(*[error] * 1000)).decide("hamlet", Book("ann"), seconds=0.05)


async def test_what_is_wrongly_declared_is_named() -> None:
    """A decider that is not there, an answer that is none, and a projection that nobody declared."""
    with pytest.raises(NotFound, match="show"):
        Decider(app, "other", MemoryHistory())
    with pytest.raises(Misconfigured, match="answered int"):
        await Decider(app, "show", MemoryHistory()).decide("hamlet", Book("nonsense"))
    with pytest.raises(TooLarge, match="200"):
        await Decider(app, "show", MemoryHistory()).decide("hamlet", Book("ann"), id="x" * 201)
    other = nerv.App("other")

    @other.decider("thing")
    def thing(state: Any, command: Any) -> Refusal:
        return nerv.refuse("never", "no")

    with pytest.raises(Misconfigured, match="projection thing"):
        other.check()
