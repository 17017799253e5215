# SPDX-License-Identifier: Apache-2.0
"""Some of the fields: nothing else is looked up, validated or computed; lazy ones when they are looked at."""

import copy
import pickle
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BeforeValidator, GetCoreSchemaHandler
from pydantic_core import CoreSchema

from nerv.errors import Invalid, SchemaMismatch
from nerv.perspectives import Lazy, Perspective, Source, computed

done: Counter[str] = Counter()


def counted(what: str) -> BeforeValidator:
    """A validator that counts how often it is asked."""

    def count(value: Any) -> Any:
        done[what] += 1
        return value

    return BeforeValidator(count)


class Leg(Perspective):
    """A nested view, whose work is counted."""

    origin: Annotated[str, counted("leg.origin")]
    miles: Annotated[int, counted("leg.miles")]

    @computed
    def long(self) -> bool:
        """Counted, too."""
        done["leg.long"] += 1
        return self.miles > 1000


class View(Perspective):
    """A view whose work is counted."""

    tail: Annotated[str, counted("tail")]
    delay: Annotated[int, counted("delay"), Source("late_by.minutes")]
    seats: Annotated[int, counted("seats")] = 0
    leg: Annotated[Leg | None, Lazy()] = None
    past: Annotated[list[Leg], Lazy()]

    @computed
    def late(self) -> bool:
        """Of one field."""
        done["late"] += 1
        return self.delay > 15

    @computed
    def notice(self) -> str:
        """Of another computed one."""
        done["notice"] += 1
        return f"{self.tail} late" if self.late else ""


STATE: dict[str, Any] = {
    "tail": "N1",
    "late_by": {"minutes": 20},
    "seats": 180,
    "leg": {"origin": "EWR", "miles": 1400},
    "past": [{"origin": "BOS", "miles": 5}, {"origin": "JFK", "miles": 7}],
}
PATHS = (
    "tail", "delay", "seats", "leg", "leg.origin", "leg.miles", "leg.long",
    "past", "past.origin", "past.miles", "past.long", "late", "notice",
)  # fmt: skip


def work(act: Callable[[], Any]) -> dict[str, int]:
    """What was validated and computed meanwhile, how often."""
    done.clear()
    act()
    return dict(done)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        (["tail"], {"tail": 1}),
        (["late"], {"late": 1, "delay": 1}),
        (["notice", "tail"], {"notice": 1, "late": 1, "delay": 1, "tail": 1}),
        (["leg.origin"], {"leg.origin": 1}),
        (["leg.long"], {"leg.long": 1, "leg.miles": 1}),
        (["past.miles"], {"leg.miles": 2}),
        (["leg"], {"leg.origin": 1, "leg.miles": 1, "leg.long": 1}),
    ],
)
def test_only_what_is_asked_for_is_computed(fields: list[str], wanted: dict[str, int]) -> None:
    """And what it is computed from; each once, in a dump, and in a stream for each state."""
    assert work(lambda: View.dump(STATE, fields=fields)) == wanted
    assert work(lambda: list(View.many([STATE, STATE], fields=fields))) == {k: 2 * n for k, n in wanted.items()}


def test_an_object_of_some_fields_reads_the_others_when_they_are_looked_at() -> None:
    """Each once; `late` is computed from a field that was not asked for."""
    view = View.view(STATE, fields=["tail", "late"])
    assert work(lambda: View.view(STATE, fields=["tail", "late"])) == {"tail": 1}
    assert work(lambda: (view.late, view.late, view.delay)) == {"late": 1, "delay": 1}
    assert view.model_dump() == {"tail": "N1", "late": True}
    assert repr(view) == "View(tail='N1', delay=20)"


def test_views_of_computed_fields_are_equal_when_these_are() -> None:
    """They hold nothing else; the same fields in a pickle."""
    late, later, early = ({**STATE, "late_by": {"minutes": minutes}} for minutes in (20, 21, 1))
    assert View.view(late, fields=["late"]) == View.view(later, fields=["late"])
    assert View.view(late, fields=["late"]) != View.view(early, fields=["late"])
    assert View.view(late, fields=["past.long"]) != View.view({**late, "past": STATE["past"][:1]}, fields=["past.long"])
    assert pickle.loads(pickle.dumps(View.view(late, fields=["late"]))).late  # noqa: S301 - our own


def test_a_copy_holds_lazy_fields_too() -> None:
    """They are read before the state is let go."""
    for copied in (copy.copy(View.view(STATE)), copy.deepcopy(View.view(STATE)), View.view(STATE).model_copy()):
        assert copied.leg == Leg(origin="EWR", miles=1400)
        assert copied == View.view(STATE)


def test_lazy_fields_are_read_on_first_access() -> None:
    """Not when the view is made, and then once."""
    view = View.view(STATE)
    assert work(lambda: View.view(STATE)) == {"tail": 1, "delay": 1, "seats": 1}
    assert work(lambda: (view.leg, view.leg)) == {"leg.origin": 1, "leg.miles": 1}
    assert work(lambda: (view.past[0].miles, view.past[1].long)) == {"leg.origin": 2, "leg.miles": 2, "leg.long": 1}


def test_a_lazy_field_that_does_not_fit_is_a_fault_when_it_is_looked_at() -> None:
    """And one that is not asked for is none."""
    bad = {**STATE, "leg": {"origin": "EWR", "miles": "far"}}
    view = View.view(bad)
    with pytest.raises(SchemaMismatch, match="/leg/miles"):
        _ = view.leg
    assert View.dump(bad, fields=["leg.origin"]) == {"leg": {"origin": "EWR"}}
    assert View.dump({"seats": 3}, fields=["seats"]) == {"seats": 3}


def test_fields_that_there_are_not_are_refused() -> None:
    """With those that there are; an empty list, one text, and fields of what is no perspective, too."""
    for fields, says in (
        (["tail", "owner"], "View has no field 'owner'; it has tail, delay"),
        (["leg.owner"], "Leg has no field 'owner'; it has origin, miles, long"),
        (["tail.x"], "tail holds no perspective"),
        (["leg."], "no field ''"),
        ([], "name at least one"),
        ("tail", "not the text 'tail'"),
    ):
        with pytest.raises(Invalid, match=says):
            View.dump(STATE, fields=fields)


def restricted(whole: dict[str, Any], fields: list[str]) -> dict[str, Any]:
    """The same by other code: what of a whole dump these fields are."""
    found: dict[str, Any] = {}
    for name in whole:
        inner = [field.partition(".")[2] for field in fields if field.partition(".")[0] == name]
        if not inner:
            continue
        value = whole[name]
        if "" in inner or value is None:
            found[name] = value
        elif isinstance(value, list):
            found[name] = [restricted(part, inner) for part in value]
        else:
            found[name] = restricted(value, inner)
    return found


LEGS = st.fixed_dictionaries({"origin": st.text(max_size=3), "miles": st.integers()})
STATES = st.fixed_dictionaries(
    {
        "tail": st.text(max_size=4),
        "late_by": st.fixed_dictionaries({"minutes": st.integers()}),
        "past": st.lists(LEGS, max_size=3),
    },
    optional={"seats": st.integers(), "leg": st.none() | LEGS},
)


def test_what_is_compiled_is_kept() -> None:
    """The first use of a perspective, and of a set of fields in any order, builds schemas; later ones build none."""

    class Kilometres(int):
        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
            done["built"] += 1
            return handler(int)

    class Way(Perspective):
        n: int
        length: Kilometres

    def use(fields: list[str] | None) -> dict[str, int]:
        return work(lambda: (Way.dump({"n": 1, "length": 5}, fields=fields), Way.json_schema(fields=fields)))

    firsts: tuple[list[str] | None, ...] = (None, ["length"], ["length", "n"])
    assert all(use(fields)["built"] > 0 for fields in firsts)
    assert all(use(fields) == {} for fields in (*firsts, ["n", "length"]))


@given(STATES, st.lists(st.sampled_from(PATHS), min_size=1))
def test_a_partial_view_is_the_whole_one_restricted(state: dict[str, Any], fields: list[str]) -> None:
    """As data, as an object, and in a stream."""
    wanted = restricted(View.dump(state), fields)
    assert View.dump(state, fields=fields) == wanted
    assert View.view(state, fields=fields).model_dump(mode="json") == wanted
    assert list(View.many([state], fields=fields)) == [wanted]
    assert list(View.dump(state, fields=fields)) == list(wanted)  # in the order of their declaration
