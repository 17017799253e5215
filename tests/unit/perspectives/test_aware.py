# SPDX-License-Identifier: Apache-2.0
"""A state in several perspectives, whose views are made once a version."""

from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

import nerv
from nerv.errors import Invalid, Misconfigured, NotFound, SchemaMismatch, VersionConflict
from nerv.history.store import TemporalStore
from nerv.perspectives import Perspective, PerspectiveAware, Redacted, Source, ViewCache, computed
from nerv.projections import StateProjector
from nerv.protocols import AppendRequest
from nerv.types import EntityId, Event, Principal, VersionedState, VersionId, new_event_id

done: Counter[str] = Counter()


class Passenger(Perspective):
    """Where it is."""

    at: str
    past: list[str] = Field(default_factory=list)

    @computed
    def moved(self) -> bool:
        """Counted."""
        done["moved"] += 1
        return len(self.past) > 0


class Operations(Perspective):
    """How full it is."""

    miles: Annotated[int, Source("totals.miles")]
    fuel: Annotated[float, Redacted("fuel:read")]


NAMES: dict[str, type[Perspective]] = {"passenger": Passenger, "operations": Operations}
STATE = {"at": "TPA", "past": ["EWR"], "totals": {"miles": 997}, "fuel": 0.5}
FUEL = Principal("ann", "default", frozenset({"fuel:read"}))


def versioned(state: Any, version: int = 1, name: str = "aircraft-N1") -> VersionedState[Any]:
    """A state at a version."""
    return VersionedState(EntityId(name), VersionId(version), state)


def test_one_state_is_shown_to_each_kind_of_reader() -> None:
    """By the name of the perspective, as data and as objects."""
    aircraft = PerspectiveAware(versioned(STATE), NAMES)
    assert aircraft.dump("passenger") == {"at": "TPA", "past": ["EWR"], "moved": True}
    assert aircraft.dump("operations") == {"miles": 997}
    assert aircraft.dump("operations", viewer=FUEL) == {"miles": 997, "fuel": 0.5}
    assert aircraft.dump("operations", fields=["miles"]) == {"miles": 997}
    assert aircraft.view("passenger") == Passenger.view(STATE)
    assert aircraft.perspectives == NAMES
    with pytest.raises(NotFound, match="no perspective 'pilot'; it has operations, passenger"):
        aircraft.dump("pilot")


def test_a_view_is_made_once_a_version() -> None:
    """The same question at the same version computes nothing; another question, or another version, does."""
    aircraft = PerspectiveAware(versioned(STATE), NAMES)
    done.clear()
    for _ in range(3):
        aircraft.dump("passenger")
    assert done["moved"] == 1
    assert aircraft.view("passenger") is aircraft.view("passenger")
    aircraft.dump("passenger", fields=["at"])
    assert done["moved"] == 1
    aircraft.hold(versioned({**STATE, "at": "EWR"}, 2))
    assert aircraft.dump("passenger")["at"] == "EWR"
    assert done["moved"] == 2


def test_what_a_caller_does_to_its_data_is_not_seen_by_others() -> None:
    """Kept data stays as it was made."""
    aircraft = PerspectiveAware(versioned(STATE), NAMES)
    first = aircraft.dump("passenger")
    first["past"].append("NOWHERE")
    first["at"] = "NOWHERE"
    assert aircraft.dump("passenger") == {"at": "TPA", "past": ["EWR"], "moved": True}


def test_two_states_with_one_version_do_not_answer_for_each_other() -> None:
    """As those as of two instants have, also through a shared cache."""
    cache = ViewCache()
    for at in ("TPA", "EWR", "TPA"):
        assert PerspectiveAware(versioned({**STATE, "at": at}), NAMES, cache=cache).dump("passenger")["at"] == at


def test_the_cache_is_bounded() -> None:
    """The view that was used least recently makes room."""
    cache = ViewCache(2)
    holders = [PerspectiveAware(versioned(STATE, name=f"aircraft-{n}"), NAMES, cache=cache) for n in range(3)]
    for holder in (*holders[:2], holders[0], holders[2], holders[0], holders[1]):
        holder.dump("passenger")
    assert len(cache) == 2
    assert cache.describe().counters == {"held": 2, "hits": 2, "misses": 4, "evicted": 2}
    with pytest.raises(Invalid, match="at least 1 view"):
        ViewCache(0)


def test_what_cannot_be_shown_is_not_kept() -> None:
    """The fault comes each time, and another perspective of the same state works."""
    aircraft = PerspectiveAware(versioned({"at": "TPA"}), NAMES)
    for _ in range(2):
        with pytest.raises(SchemaMismatch, match="/miles"):
            aircraft.dump("operations")
    assert aircraft.dump("passenger")["at"] == "TPA"


def test_a_holder_goes_forward_with_its_own_entity() -> None:
    """Earlier versions and other entities are refused, and change nothing."""
    aircraft = PerspectiveAware(versioned(STATE, 2), NAMES)
    with pytest.raises(VersionConflict, match="at version 2; 1 is earlier"):
        aircraft.hold(versioned({}, 1))
    with pytest.raises(Invalid, match="holds aircraft-N1, not aircraft-N2"):
        aircraft.hold(versioned({}, 3, "aircraft-N2"))
    assert aircraft.state == versioned(STATE, 2)
    with pytest.raises(Misconfigured, match="at least one"):
        PerspectiveAware(versioned(STATE), {})


def test_a_holder_describes_itself() -> None:
    """Its entity, the fields of its perspectives, and its cache; without values."""
    aircraft = PerspectiveAware(versioned(STATE, 7), NAMES)
    aircraft.dump("operations")
    document = aircraft.describe().to_dict()
    assert (document["kind"], document["name"], document["counters"]) == (
        "PerspectiveAware",
        "aircraft-N1",
        {"version": 7},
    )
    assert document["outputs"] == ("operations", "passenger")
    assert [(part["name"], part["outputs"]) for part in document["parts"]] == [
        ("operations", ("miles", "fuel")), ("passenger", ("at", "past", "moved")), ("views", ()),
    ]  # fmt: skip
    assert "TPA" not in str(document)


QUESTIONS = st.tuples(
    st.sampled_from(["passenger", "operations"]), st.sampled_from([None, FUEL]), st.sampled_from(["EWR", "TPA"])
)


@given(st.lists(QUESTIONS, max_size=30), st.integers(1, 4))
def test_what_is_kept_equals_what_would_be_made(questions: list[tuple[str, Principal | None, str]], size: int) -> None:
    """Whatever is asked in whatever order, of whatever version, with whatever room."""
    states = {at: {**STATE, "at": at} for at in ("EWR", "TPA")}
    cache = ViewCache(size)
    for version, (name, viewer, at) in enumerate(questions):
        aircraft = PerspectiveAware(versioned(states[at], version // 3), NAMES, cache=cache)
        assert aircraft.dump(name, viewer=viewer) == NAMES[name].dump(states[at], viewer=viewer)
        assert aircraft.view(name, viewer=viewer) == NAMES[name].view(states[at], viewer=viewer)
    assert len(cache) <= size


async def test_it_shows_what_a_state_projector_folds() -> None:
    """In one process, without servers: at each version the views of that version, each made once."""
    app = nerv.App("aircraft")

    @app.event("aircraft.moved.v1")
    class Moved(nerv.Event):
        to: str

    @app.projection("aircraft", on=["aircraft.moved.v1"])
    def aircraft(state: dict[str, Any] | None, event: Moved) -> dict[str, Any]:
        return {"at": event.to, "past": [*(state["past"] if state else []), event.to]}

    app.perspective("aircraft", "passenger")(Passenger)
    with pytest.raises(Misconfigured, match="int, which is no nerv"):
        app.perspective("aircraft", "number")(int)
    async with TemporalStore.in_memory() as store:
        for to in ("EWR", "TPA"):
            event = Event(
                new_event_id(), "test", "aircraft.moved.v1", datetime.now(UTC), Moved(to=to).model_dump_json().encode()
            )
            await store.append([AppendRequest("aircraft-N1", [event])])
        projector: StateProjector[Any] = StateProjector(app, "aircraft", store)
        cache = ViewCache()
        done.clear()
        for version, at in ((1, "EWR"), (2, "TPA"), (1, "EWR"), (2, "TPA")):
            state = await projector.state("N1", version=version)
            holder = PerspectiveAware(state, app.perspectives_of("aircraft"), cache=cache)
            assert holder.dump("passenger")["at"] == at
    assert done["moved"] == 2
