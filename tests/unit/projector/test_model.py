# SPDX-License-Identifier: Apache-2.0
"""What the projector decides without doing anything."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

import nerv
from nerv.app.specs import KeyRule
from nerv.errors import Invalid, SchemaMismatch, TooLarge
from nerv.projections import MAX_KEYS, Projection
from nerv.protocols.views import Cursor, View
from nerv.types import Event
from nerv_projector.model import Entity, entity_of_view, fold, fold_with_care, origin_position, since_of

NOW = datetime(2013, 1, 1, tzinfo=UTC)
SINCE = Cursor("id", 4, {0: 7}, {0: 9})


class Moved(nerv.Event):
    """Something went somewhere."""

    origin: str = ""
    dest: str = ""
    month: int = 0


class Noted(nerv.Event):
    """Something else."""


@dataclass(frozen=True)
class Count:
    """How often, and when last."""

    times: int
    last: datetime


def moved(
    stream: str = "plane-N1", data: bytes = b'{"origin":"JFK","dest":"LAX","month":1}', **more: Any
) -> Event[bytes]:
    """An event of the type that is folded."""
    return Event("e1", "test", more.get("kind", "moved.v1"), NOW, data, subject=stream, sequence=1)


def projection(
    key: KeyRule = None, function: Callable[[Any, Any], Any] | None = None, state: Any = dict, **more: Any
) -> Projection[Any]:
    """A projection `plane` of an app of its own."""
    app = nerv.App("test")
    app.event("moved.v1")(Moved)
    app.event("noted.v1")(Noted)
    app.projection("plane", on=["moved.v1"], key=key, state=state, **more)(function or (lambda state, event: {}))
    return Projection(app, app.projections["plane"])


def count(state: dict[str, Any] | None, event: Moved) -> dict[str, Any]:
    """Counts, and refuses one month."""
    if event.month == 13:
        raise ValueError("no such month")
    return {"times": (state or {"times": 0})["times"] + 1}


class TestKeys:
    """Which keys an event goes to."""

    def test_without_a_rule_the_key_is_the_entity_of_the_stream(self) -> None:
        """The entity may itself contain dashes."""
        assert projection().keys(moved("plane-N1-b")) == ("N1-b",)

    def test_streams_of_other_categories_are_not_folded(self) -> None:
        """The category is the projection's name unless another is given."""
        assert projection().keys(moved("flight-7")) == ()
        assert projection(category="flight").keys(moved("flight-7")) == ("7",)

    def test_other_types_are_not_folded(self) -> None:
        """A type that the projection does not list has no keys, whatever its stream."""
        assert projection().keys(moved(kind="noted.v1")) == ()
        assert projection("dest").keys(moved(kind="noted.v1")) == ()

    @pytest.mark.parametrize(
        ("rule", "keys"),
        [
            ("dest", ("LAX",)),
            ("month", ("1",)),
            ({"moved.v1": "origin"}, ("JFK",)),
            ({"noted.v1": "origin"}, ()),
            (lambda event: event.dest, ("LAX",)),
            (lambda event: [event.origin, event.dest], ("JFK", "LAX")),
            (lambda event: (event.dest, event.dest), ("LAX",)),
            (lambda event: None, ()),
            (lambda event: "", ()),
            (lambda event: [None, "", "x"], ("x",)),
        ],
    )
    def test_each_kind_of_rule(self, rule: KeyRule, keys: tuple[str, ...]) -> None:
        """A field, a field for its type, a function; one key or several, each once, empty ones left out."""
        assert projection(rule).keys(moved()) == keys

    def test_a_key_that_cannot_be_one_is_refused(self) -> None:
        """Control characters and endless lists do not become keys."""
        with pytest.raises(Invalid):
            projection(lambda event: "a\nb").keys(moved())
        with pytest.raises(TooLarge):
            projection(lambda event: "x" * 257).keys(moved())
        with pytest.raises(TooLarge):
            projection(lambda event: [str(i) for i in range(MAX_KEYS + 1)]).keys(moved())

    def test_data_that_does_not_fit_has_no_key(self) -> None:
        """A rule cannot be asked of an event that its model refuses."""
        with pytest.raises(SchemaMismatch):
            projection("dest").keys(moved(data=b'{"month":"x"}'))

    def test_origins_count_up_over_keys_and_offsets(self) -> None:
        """The last key of an event comes before the first of the next."""
        assert origin_position(7, 0) < origin_position(7, 1) < origin_position(7, MAX_KEYS - 1) < origin_position(8, 0)


class TestState:
    """How a state is written and read."""

    def test_a_bare_dict_holds_json_only(self) -> None:
        """What would come back as something else is refused when it is written."""
        plain = projection()
        assert plain.load(plain.dump({"a": [1, None, "x"]})) == {"a": [1, None, "x"]}
        with pytest.raises(TypeError):
            plain.dump({"at": NOW})

    def test_a_typed_state_comes_back_as_it_was(self) -> None:
        """Instants survive in a declared type."""
        typed = projection(state=Count)
        assert typed.load(typed.dump(Count(2, NOW))) == Count(2, NOW)

    def test_no_state_is_null(self) -> None:
        """A fold may answer None: the entity is gone, and its version goes on."""
        typed = projection(state=Count, function=lambda state, event: None)
        assert typed.load(b"null") is None
        assert fold(typed, Entity(3, Count(1, NOW)), [moved()]).view() == View(4, b"null")


class TestFold:
    """What events become."""

    def test_events_are_folded_in_order_onto_what_is_there(self) -> None:
        """The version counts the events."""
        counting = projection(function=count)
        entity = entity_of_view(counting, View(2, b'{"times":2}'))
        after = fold(counting, entity, [moved(), moved()])
        assert after == Entity(4, {"times": 4}, b'{"times":4}')
        assert after.view() == View(4, b'{"times":4}')

    def test_a_fold_that_raises_parks_the_key_before_the_event(self) -> None:
        """The events before it count, it and what follows do not, and the cause is kept."""
        events = [moved(), moved(data=b'{"month":13}'), moved()]
        view, poison = fold_with_care(
            projection(function=count), View(1, b'{"times":1}'), events, ["h/0/4", "h/0/5", "h/0/6"], SINCE
        )
        assert poison is not None
        assert (poison.index, poison.cause) == (1, "ValueError: no such month")
        assert (view.version, view.state) == (2, b'{"times":2}')
        assert view.parked is not None
        assert view.parked == {
            "event": "e1",
            "type": "moved.v1",
            "position": "h/0/5",
            "cause": "ValueError: no such month",
            "attempt": "1",
            "since": view.parked["since"],
        }
        assert since_of(view.parked) == SINCE

    def test_a_state_that_cannot_be_written_parks_the_key(self) -> None:
        """What the fold answers must be of the declared type."""
        bad = projection(function=lambda state, event: {"at": NOW})
        view, poison = fold_with_care(bad, None, [moved()], ["h/0/1"], SINCE)
        assert poison is not None
        assert poison.cause.startswith("TypeError")
        assert (view.version, view.state) == (0, b"null")

    def test_a_stored_state_that_no_longer_fits_parks_the_key(self) -> None:
        """After the state's type has changed the key waits for a rebuild."""
        view, poison = fold_with_care(projection(state=Count), View(5, b'{"times":1}'), [moved()], ["h/0/1"], SINCE)
        assert poison is not None
        assert (view.version, view.state) == (5, b'{"times":1}')
