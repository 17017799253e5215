# SPDX-License-Identifier: Apache-2.0
"""Views over one state: selected, renamed, computed, nested, inherited; as objects, as data, as a stream, as a schema."""

import copy
import pickle
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Annotated, Any

import jsonschema
import pytest
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    JsonValue,
    PlainSerializer,
    computed_field,
    field_validator,
    model_validator,
)
from typing_extensions import TypeAliasType

from nerv.errors import Invalid, Misconfigured, SchemaMismatch
from nerv.perspectives import Identifier, Lazy, Perspective, Redacted, Source, computed
from nerv.state import freeze

Upper = Annotated[str, PlainSerializer(str.upper, return_type=str)]


class Leg(Perspective):
    """One leg of a journey."""

    origin: Annotated[str, Source("from")]
    miles: int

    @computed
    def long(self) -> bool:
        """Whether it is over 1,000 miles."""
        return self.miles > 1000


class Seen(Perspective):
    """What a passenger sees of an aircraft."""

    tail: Annotated[str, Source("tailnum"), Identifier()]
    city: Annotated[Upper | None, Source("position.city")] = None
    since: datetime
    leg: Leg | None
    past: tuple[Leg, ...] = ()
    by_day: dict[str, list[Leg]] = Field(default_factory=dict)
    first: Annotated[str | None, Source("past", 0, "from")] = None
    fuel: float = Field(0.0, exclude=True)

    @computed
    def low(self) -> bool:
        """Whether it must be fuelled."""
        return self.fuel < 100


class Kept(Perspective):
    """With a field that is not shown before one that is."""

    b: int = Field(exclude=True)
    a: int


STATE: dict[str, Any] = {
    "tailnum": "N14228",
    "tail": "of something else",
    "position": {"city": "Tampa", "lat": 27.9},
    "since": datetime(2013, 1, 1, tzinfo=UTC),
    "leg": {"from": "EWR", "miles": "997", "note": "extra"},
    "past": [{"from": "BOS", "miles": 1100}, {"from": "JFK", "miles": 5}],
    "by_day": {"mon": [{"from": "IAH", "miles": 1400}]},
    "fuel": 40.0,
    "owner": "nobody asks",
}
SHOWN = {
    "tail": "N14228",
    "city": "TAMPA",
    "since": "2013-01-01T00:00:00Z",
    "leg": {"origin": "EWR", "miles": 997, "long": False},
    "past": [{"origin": "BOS", "miles": 1100, "long": True}, {"origin": "JFK", "miles": 5, "long": False}],
    "by_day": {"mon": [{"origin": "IAH", "miles": 1400, "long": True}]},
    "first": "BOS",
    "low": True,
}


def objects(value: Any) -> Any:
    """The same state, of objects with attributes."""
    if isinstance(value, dict):
        return SimpleNamespace(**{key: objects(part) for key, part in value.items()})
    return [objects(part) for part in value] if isinstance(value, list) else value


def test_a_dump_shows_what_is_declared() -> None:
    """Selected, renamed, from a path, validated, serialized as the type says, nested in every container, computed."""
    assert Seen.dump(STATE) == SHOWN


def test_a_state_may_be_mappings_objects_or_both() -> None:
    """Persistent maps, attributes, and objects inside of mappings are read alike."""
    by_day = STATE["by_day"]
    assert Seen.dump({**STATE, "position": SimpleNamespace(city="Tampa"), "leg": objects(STATE["leg"])}) == SHOWN
    some = objects(STATE)
    some.by_day = by_day  # the days are keys of a mapping, not attributes
    assert Seen.dump(some) == SHOWN
    plain = {key: part for key, part in STATE.items() if key != "since"}
    assert Seen.dump(freeze(plain), fields=["tail", "city", "leg", "past", "by_day", "first", "low"]) == {
        key: part for key, part in SHOWN.items() if key != "since"
    }


def test_a_view_is_an_object_with_the_same_content() -> None:
    """Its nested views are objects of their classes, and pydantic dumps it as `dump` does."""
    view = Seen.view(STATE)
    assert (view.tail, view.city, view.leg, view.low) == ("N14228", "Tampa", Leg(origin="EWR", miles=997), True)
    assert isinstance(view.past[0], Leg)
    assert view.past[0].long
    assert view.model_dump(mode="json") == SHOWN
    assert view.model_dump()["since"] == STATE["since"]
    with pytest.raises(Exception, match="frozen"):
        view.tail = "N1"  # type: ignore[misc]  # that it is refused is what is tested


def test_views_are_equal_when_what_they_read_is() -> None:
    """The rest of the state does not matter; what is kept for computing does."""
    assert Seen.view(STATE) == Seen.view({**STATE, "owner": "somebody"})
    assert Seen.view(STATE) != Seen.view({**STATE, "fuel": 41.0})
    assert hash(Leg.view(STATE["leg"])) == hash(Leg(origin="EWR", miles=997))
    assert Kept.view({"b": 1, "a": 2}) == Kept(b=1, a=2)
    assert hash(Kept.view({"b": 1, "a": 2})) == hash(Kept(b=1, a=2))
    assert Leg.view(STATE["leg"]) != Leg.view(STATE["leg"], fields=["miles"])


def test_copies_and_pickles_hold_the_view_and_not_the_state() -> None:
    """They are equal to it, and nothing else of the state is in them."""
    view = Seen.view(STATE)
    data = pickle.dumps(view)
    assert b"nobody asks" not in data
    assert pickle.loads(data) == view == copy.deepcopy(view)  # noqa: S301 - our own


def test_a_path_that_ends_early_leaves_the_default() -> None:
    """Also where a part is None; without a default it is a fault, which names the field."""
    nowhere: tuple[Any, ...] = (None, {}, 5)
    for position in nowhere:
        assert Seen.dump({**STATE, "position": position}, fields=["city"]) == {"city": None}
    assert Seen.dump({**STATE, "past": []}, fields=["first"]) == {"first": None}

    class Needs(Perspective):
        city: Annotated[str, Source("position.city")]

    with pytest.raises(SchemaMismatch, match="Needs: /city: Field required"):
        Needs.dump({"position": None, "city": "elsewhere"})


def test_a_field_may_be_the_whole_state() -> None:
    """With an empty source, of mappings and objects."""

    class Wrapped(Perspective):
        leg: Annotated[Leg, Source()]
        miles: int

    assert Wrapped.dump({"from": "EWR", "miles": 3}) == {
        "leg": {"origin": "EWR", "miles": 3, "long": False},
        "miles": 3,
    }


def test_a_perspective_inherits_fields_and_may_refine_them() -> None:
    """Markers, computed fields and types come from the base unless declared anew."""

    class Longer(Leg):
        miles: float  # type: ignore[assignment]  # to refine it, as models may
        dest: Annotated[str, Source("to")]

        @computed
        def long(self) -> bool:
            return self.miles > 500

    assert Longer.dump({"from": "EWR", "to": "TPA", "miles": 997.5}) == {
        "origin": "EWR", "miles": 997.5, "dest": "TPA", "long": True,
    }  # fmt: skip


def test_faults_name_their_paths_and_no_values() -> None:
    """Every fault of a state is told, nested ones by their place."""
    bad = {**STATE, "since": "s3cret", "past": [{"from": "BOS", "miles": "s3cret"}]}
    with pytest.raises(SchemaMismatch) as raised:
        Seen.dump(bad)
    assert [fault["path"] for fault in raised.value.errors] == ["/since", "/past/0/miles"]
    assert "s3cret" not in f"{raised.value} {raised.value.errors}"
    with pytest.raises(SchemaMismatch, match="/past/0/miles"):
        Seen.view({**STATE, "past": bad["past"]})
    with pytest.raises(SchemaMismatch, match="/tail"):
        Seen.dump(None)


def test_what_a_computed_field_raises_comes_out() -> None:
    """A fault of the app is not taken for one of the state."""

    class Broken(Perspective):
        n: int

        @computed
        def ratio(self) -> float:
            return 1 / self.n

    with pytest.raises(ZeroDivisionError):
        Broken.dump({"n": 0})
    assert Broken.dump({"n": 0}, fields=["n"]) == {"n": 0}


def test_validation_is_that_of_pydantic_also_on_the_fast_way() -> None:
    """A flat perspective over plain dicts converts, refuses, defaults and leaves out as the others do."""

    class Flat(Perspective):
        n: Annotated[int, Source("number")]
        even: Annotated[int, Field(ge=0), AfterValidator(lambda value: value - value % 2)] = 0

    states = [{"number": "7", "even": 5, "more": 1}, {"number": 8.0}]
    wanted = [{"n": 7, "even": 4}, {"n": 8, "even": 0}]
    assert list(Flat.many(states)) == wanted == [Flat.dump(state) for state in states]
    assert [view.model_dump() for view in map(Flat.view, map(objects, states))] == wanted
    misfits: tuple[Any, ...] = ({"number": "x"}, {"n": 1}, {"number": 1, "even": -1}, [], None)
    for wrong in misfits:
        with pytest.raises(SchemaMismatch):
            list(Flat.many([wrong]))
        with pytest.raises(SchemaMismatch):
            Flat.dump(wrong)


def test_many_is_a_stream_of_constant_memory() -> None:
    """A hundred thousand states take no more than a thousand, and are made as they are asked for."""

    class Flat(Perspective):
        n: int

    made = 0

    def states(number: int) -> Iterator[dict[str, Any]]:
        nonlocal made
        for made in range(1, number + 1):
            yield {"n": made, "text": "x" * 1000}

    def peak(number: int) -> int:
        tracemalloc.start()
        assert sum(row["n"] for row in Flat.many(states(number))) == number * (number + 1) // 2
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1000)  # what is compiled and cached once
    assert peak(20_000) < 1.2 * peak(1000)
    stream = Flat.many(states(10), ahead=2)
    assert next(stream) == {"n": 1}
    assert made == 2


def test_in_a_stream_an_error_comes_in_the_place_of_its_state() -> None:
    """Those before it are given first, however many are read ahead."""

    class Flat(Perspective):
        n: int

    stream = Flat.many([{"n": 1}, {"n": 2}, {"n": "x"}, {"n": 4}])
    assert [next(stream), next(stream)] == [{"n": 1}, {"n": 2}]
    with pytest.raises(SchemaMismatch, match="/n"):
        next(stream)

    class Raises(Perspective):
        n: Annotated[float, AfterValidator(lambda value: 1 / value)]

    shares = Raises.many([{"n": 2}, {"n": 0}])
    assert next(shares) == {"n": 0.5}
    with pytest.raises(ZeroDivisionError):
        next(shares)


async def test_many_takes_asynchronous_iterables() -> None:
    """Each view is given before the next state is asked for."""
    asked: list[int] = []

    async def states() -> AsyncIterator[dict[str, Any]]:
        for number in range(3):
            asked.append(number)
            yield {"from": "EWR", "miles": number}

    stream = Leg.many(states(), fields=["miles"])
    assert await anext(stream) == {"miles": 0}
    assert asked == [0]
    assert [row async for row in stream] == [{"miles": 1}, {"miles": 2}]


def test_a_json_schema_describes_what_is_dumped() -> None:
    """Of the whole view and of some fields; what is not asked for is neither in the one nor in the other."""
    for fields in (None, ["tail", "low"], ["leg.long", "past.miles"]):
        schema = Seen.json_schema(fields=fields)
        shown = Seen.dump(STATE, fields=fields)
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(shown, schema)
        assert schema["properties"].keys() == shown.keys() == set(schema["required"])
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({}, schema)
    assert "default" not in str(Seen.json_schema())  # every field is always there
    assert Seen.json_schema()["description"] == "What a passenger sees of an aircraft."
    assert "Leg" not in str(Seen.json_schema(fields=["tail"]))


def test_a_perspective_may_hold_itself() -> None:
    """A tree of any depth is shown whole, or in part."""

    class Node(Perspective):
        name: Annotated[str, Source("n")]
        below: list["Node"] = Field(default_factory=list)

        @computed
        def size(self) -> int:
            return 1 + sum(node.size for node in self.below)

    Node.model_rebuild()
    state = {"n": "a", "below": [{"n": "b", "below": [{"n": "c"}]}, {"n": "d"}]}
    c, d = ({"name": name, "below": [], "size": 1} for name in "cd")
    whole = {"name": "a", "below": [{"name": "b", "below": [c], "size": 2}, d], "size": 4}
    assert Node.dump(state) == whole
    assert Node.dump(state, fields=["below.name"]) == {"below": [{"name": "b"}, {"name": "d"}]}
    jsonschema.validate(whole, Node.json_schema())


def test_a_union_of_perspectives_is_the_first_that_fits() -> None:
    """In the order of their declaration."""

    class Parked(Perspective):
        gate: str

    class Where(Perspective):
        at: Parked | Leg

    assert Where.dump({"at": {"gate": "A1"}}) == {"at": {"gate": "A1"}}
    assert Where.dump({"at": {"from": "EWR", "miles": 1}}) == {"at": {"origin": "EWR", "miles": 1, "long": False}}
    with pytest.raises(Invalid, match="several perspectives"):
        Where.dump({}, fields=["at.gate"])


def test_aliases_of_types_are_looked_into() -> None:
    """For perspectives and for markers; one that names itself is left to pydantic."""
    legs, secret = TypeAliasType("legs", list[Leg]), TypeAliasType("secret", Annotated[int, Redacted("x")])

    class Aliased(Perspective):
        more: JsonValue
        past: legs  # type: ignore[valid-type]  # made here, for a test

    state = {"more": {"a": [1, None]}, "past": [{"from": "EWR", "miles": 1}]}
    assert Aliased.dump(state) == {"more": {"a": [1, None]}, "past": [{"origin": "EWR", "miles": 1, "long": False}]}
    assert Aliased.dump(state, fields=["past.long"]) == {"past": [{"long": False}]}
    with pytest.raises(Misconfigured, match="stands inside of the type"):
        type("Unseen", (Perspective,), {"__module__": __name__, "__annotations__": {"n": secret}})


def test_types_of_other_models_are_kept() -> None:
    """A field may hold a pydantic model or a dataclass, which pydantic dumps."""

    class Totals(BaseModel):
        miles: int

    @dataclass
    class Crew:
        names: list[str]

    class Report(Perspective):
        totals: Totals
        crew: Crew

    state = {"totals": Totals(miles=5), "crew": Crew(["ann"])}
    assert Report.dump(state) == {"totals": {"miles": 5}, "crew": {"names": ["ann"]}}
    assert Report.view(state).totals is state["totals"]


def test_what_a_view_of_some_fields_could_not_honour_is_refused() -> None:
    """Validators of the model, private state, aliases, extra fields, and markers where they would go unseen."""

    def wrong(says: str, **namespace: Any) -> None:
        with pytest.raises(Misconfigured, match=says):
            type("Wrong", (Perspective,), {"__module__": __name__, **namespace})

    wrong("check is a validator", __annotations__={"n": int}, check=field_validator("n")(lambda cls, value: value))
    wrong("check is a validator", check=model_validator(mode="after")(lambda self: self))
    wrong("private attributes", __annotations__={"_n": int})
    wrong("n has an alias", __annotations__={"n": int}, n=Field(alias="m"))
    wrong("leave `extra`", model_config={"extra": "allow"})
    with pytest.warns(UserWarning, match="shadows"):
        wrong("view is a method", __annotations__={"view": int})
    wrong("dump is a method", dump=classmethod(lambda cls, state: {}))
    wrong("stands inside of the type", __annotations__={"n": list[Annotated[int, Source("m")]]})
    wrong("made from other fields", __annotations__={"n": int}, n=Field(default_factory=lambda data: 1))
    wrong("Lazy is for what is read", n=computed(lazy_result))
    with pytest.raises(Misconfigured, match="empty part"):
        Source("a..b")


def lazy_result(self: Any) -> Annotated[int, Lazy()]:
    """A computed field that is marked as if it were read."""
    return 1


def test_a_type_that_is_not_there_is_said() -> None:
    """When the perspective is first used."""

    class Lost(Perspective):
        leg: "Nowhere"  # type: ignore[name-defined]  # noqa: F821 - that it is not there is what is tested

    with pytest.raises(Misconfigured, match="names Nowhere, which is not there"):
        Lost.dump({})


def test_computed_fields_of_pydantic_are_shown_too() -> None:
    """Its own decorator works as in any model."""

    class Plain(Perspective):
        n: int

        @computed_field  # type: ignore[prop-decorator]  # pydantic's documented form
        @property
        def double(self) -> int:
            return 2 * self.n

    assert Plain.dump({"n": 2}) == {"n": 2, "double": 4}
    assert Plain.dump({"n": 2}, fields=["double"]) == {"double": 4}
