# SPDX-License-Identifier: Apache-2.0
"""The folds of the app give the totals of the reference, which knows nothing of them."""

import ast
import random
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from flights import app, reference
from flights.aircraft import Aircraft
from flights.airports import Airport
from flights.data import FLIGHTS, data_folder, events_in_order, load_flights
from flights.events import FlightArrived, FlightDeparted, FlightEvent
from flights.reference import COUNTED, Reference, count_flights
from flights.totals import Totals
from nerv.effects import Append
from nerv.types import Event

FOLDER = data_folder()
DAYS = range(1, 8)


@pytest.fixture(scope="module")
def events() -> list[Event[bytes]]:
    """The events of the first week of January."""
    return list(events_in_order(load_flights(FOLDER, [1], DAYS)))


@pytest.fixture(scope="module")
def counted() -> Reference:
    """The reference for the same days."""
    return count_flights(FOLDER / FLIGHTS, [1], DAYS)


def keys(projection: str, event: FlightEvent, event_type: str) -> str | None:
    """The key that an event goes to."""
    rule: Any = app.projections[projection].key
    if rule is None:
        return event.tailnum
    if isinstance(rule, str):
        return str(getattr(event, rule))
    return str(rule(event)) if callable(rule) else str(getattr(event, rule[event_type]))


def fold(projection: str, events: Iterable[Event[bytes]]) -> dict[str, Any]:
    """Every state of a projection."""
    states: dict[str, Any] = {}
    for event in events:
        model = app.decode(event)
        assert isinstance(model, FlightEvent)
        if key := keys(projection, model, event.type):
            states[key] = app.projections[projection].function(states.get(key), model)
    return states


def test_aircraft_totals_are_those_of_the_reference(events: list[Event[bytes]], counted: Reference) -> None:
    """Every aircraft's totals equal what is counted from the file."""
    states: dict[str, Aircraft] = fold("aircraft", events)
    assert {tail: asdict(state.totals) for tail, state in states.items()} == counted.aircraft


def test_airport_totals_are_those_of_the_reference(events: list[Event[bytes]], counted: Reference) -> None:
    """Every airport's totals equal what is counted from the file."""
    states: dict[str, Airport] = fold("airports", events)
    assert {faa: asdict(state.totals) for faa, state in states.items()} == counted.airports


def test_carriers_and_months_are_those_of_the_reference(events: list[Event[bytes]], counted: Reference) -> None:
    """Every carrier's and every month's totals equal what is counted from the file."""
    assert {code: asdict(totals) for code, totals in fold("carriers", events).items()} == counted.carriers
    months = fold("months", events)
    assert {f"{m} {c}": asdict(t) for m, state in months.items() for c, t in state.items()} == counted.months


def test_boards_do_not_depend_on_the_order_of_streams(events: list[Event[bytes]]) -> None:
    """Events of different aircraft may come in any order: boards and totals are the same."""
    shuffled = list(events)
    random.Random(7).shuffle(shuffled)  # noqa: S311 - a fixed order, no secret
    assert fold("airports", shuffled) == fold("airports", events)


def test_a_board_shows_the_latest_first(events: list[Event[bytes]]) -> None:
    """The board of JFK has ten departures, the latest first."""
    board = fold("airports", events)["JFK"].departures
    assert len(board) == 10
    assert [line.at for line in board] == sorted((line.at for line in board), reverse=True)


def test_an_aircraft_is_in_the_air_between_departure_and_arrival() -> None:
    """N14228 flew as UA1545 to IAH on the first of January."""
    events = [e for e in events_in_order(load_flights(FOLDER, [1], [1])) if e.id.startswith("2013-01-01-UA1545-EWR")]
    departed, arrived = [app.decode(event) for event in events]
    fold_one = app.projections["aircraft"].function
    flying: Aircraft = fold_one(None, departed)
    assert (flying.status, flying.at, flying.leg and flying.leg.dest) == ("flying", None, "IAH")
    landed: Aircraft = fold_one(flying, arrived)
    assert (landed.status, landed.at, landed.totals.minutes_flown) == ("landed", "IAH", 227)


def test_an_arrival_of_an_earlier_flight_moves_no_aircraft() -> None:
    """When the next departure was recorded before the arrival, the aircraft stays on its later flight."""
    events = [app.decode(e) for e in events_in_order(load_flights(FOLDER, [1], [1, 8]))]
    mine = [e for e in events if isinstance(e, FlightDeparted | FlightArrived) and e.tailnum == "N14228"]
    first, first_arrived, second = mine[:3]
    state: Aircraft | None = None
    for event in (first, second, first_arrived):
        state = app.projections["aircraft"].function(state, event)
    assert state is not None
    assert (state.status, state.leg and state.leg.flight) == ("flying", second.flight)
    assert state.totals.arrivals == 1


def test_reactions_append_to_the_stream_of_the_aircraft(events: list[Event[bytes]]) -> None:
    """Every event is appended once, to its aircraft's stream, or to the flight's where there is no aircraft."""
    reactions = {spec.event_type: spec.function for spec in app.reactions.values()}
    for event in events:
        model = app.decode(event)
        assert isinstance(model, FlightEvent)
        stream = f"aircraft-{model.tailnum}" if model.tailnum else f"flight-{model.flight}"
        assert reactions[event.type](model) == Append(stream, model)


def test_two_perspectives_show_different_things(events: list[Event[bytes]]) -> None:
    """Passengers see boards and no totals, operations totals and no boards."""
    state = fold("airports", events)["JFK"]
    passenger = app.perspectives["airports", "passenger"].model.view(state).model_dump()
    operations = app.perspectives["airports", "operations"].model.view(state).model_dump()
    assert set(passenger) == {"departures", "arrivals"}
    assert "totals" in operations
    assert "departures" not in operations


def test_every_perspective_can_show_every_state(events: list[Event[bytes]]) -> None:
    """No state of the app is one that a perspective of it refuses."""
    for (projection, _), spec in app.perspectives.items():
        for state in fold(projection, events).values():
            assert spec.model.dump(state)


def test_the_reference_shares_no_code_with_the_app() -> None:
    """`flights.reference` imports the standard library and nothing else, and counts the same names."""
    tree = ast.parse(Path(reference.__file__).read_text(encoding="utf-8"))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or "."] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert imported <= sys.stdlib_module_names
    assert set(COUNTED) == set(Totals.__slots__)
