# SPDX-License-Identifier: Apache-2.0
"""The chain of middleware: one object for a bus and for topics; what each kind of step does to an event."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import nerv
from nerv.app import Way
from nerv.bus import Chain, Delay, EventBus, Outcome, middleware
from nerv.bus.chain import named
from nerv.errors import Invalid, Misconfigured, Refused, SchemaMismatch
from nerv.types import Event, utc_now

NOW = utc_now()


class Order(BaseModel):
    """An order."""

    item: str
    card: str = "4711"


def event(data: Any = b'{"item":"tea","card":"4711"}', number: int = 1, kind: str = "shop.ordered.v1") -> Event[Any]:
    """An order, as it comes."""
    return Event(str(number), "test", kind, NOW, data)


def chain(*steps: Any) -> Chain:
    """A chain of these steps."""
    return Chain(tuple(map(named, steps)))


def only(step: Any, given: Event[Any]) -> Any:
    """The data behind one step."""
    [passed] = chain(step).run("t", [given])
    assert passed.event is not None, passed
    return passed.event.data


@pytest.mark.parametrize("data", [b'{"item":"tea","card":"4711"}', Order(item="tea"), {"item": "tea", "card": "4711"}])
def test_redacting_hides_a_field_in_whatever_form_the_data_has(data: Any) -> None:
    """Bytes stay bytes, a model its model, a mapping a mapping; what was given is unchanged."""
    before = data.model_copy() if isinstance(data, Order) else data if isinstance(data, bytes) else dict(data)
    found = only(middleware.redact("card"), event(data))
    assert type(found) is type(data)
    read = orjson.loads(found) if isinstance(found, bytes) else dict(found)
    assert read == {"item": "tea", "card": "***"}
    assert data == before


def test_redacting_goes_into_objects_and_lists() -> None:
    """A path means the field of every element."""
    data = orjson.dumps({"lines": [{"price": {"net": 1}}, {"price": {"net": 2}}, {"price": 3}, 4]})
    found = orjson.loads(only(middleware.redact("lines.price.net", mask=0), event(data)))
    assert found == {"lines": [{"price": {"net": 0}}, {"price": {"net": 0}}, {"price": 3}, 4]}


@pytest.mark.parametrize("data", [b"", b"\xff", b"[1", b"[1]", b"3"])
def test_what_cannot_be_read_is_refused_by_what_should_redact_it(data: bytes) -> None:
    """Nobody knows what it holds."""
    [passed] = chain(middleware.redact("card")).run("t", [event(data)])
    assert (passed.outcome, passed.event, passed.by) == (Outcome.REFUSED, None, ("redact(card)",))
    assert isinstance(passed.error, Refused)


def test_enriching_adds_and_overwrites_nothing() -> None:
    """What the sender wrote stays."""
    found = only(middleware.enrich(lambda e: {"item": "coffee", "region": e.source}, "region"), event())
    assert orjson.loads(found) == {"item": "tea", "card": "4711", "region": "test"}


def test_a_chain_says_what_became_of_each_event_and_by_which_step() -> None:
    """Passed, changed, routed, dropped and refused, in the order of the batch."""

    def to_big(e: Event[Any]) -> str | None:
        return "big" if e.id == "3" else None

    def fault(e: Event[Any]) -> str | None:
        return "is five" if e.id == "5" else None

    steps = chain(
        middleware.filter(lambda e: e.id != "1", "not_one"),
        middleware.transform(lambda e: replace(e, subject="two") if e.id == "2" else e, "two"),
        middleware.route(to_big, ["big"]),
        middleware.validate(fault),
    )
    passed = steps.run("small", [event(number=number) for number in range(1, 6)])
    assert [(one.index, one.topic, one.outcome, one.by) for one in passed] == [
        (0, "small", Outcome.DROPPED, ("filter(not_one)",)),
        (1, "small", Outcome.CHANGED, ("transform(two)",)),
        (2, "big", Outcome.ROUTED, ("route(to_big)",)),
        (3, "small", Outcome.PASSED, ()),
        (4, "small", Outcome.REFUSED, ("validate(fault)",)),
    ]
    assert isinstance(passed[4].error, SchemaMismatch)
    assert "is five" in passed[4].error.detail


def test_a_model_validates_and_names_the_path() -> None:
    """As the door does for declared events."""
    [passed] = chain(middleware.validate(Order)).run("t", [event(b'{"item": 3}')])
    assert passed.error is not None
    assert passed.error.errors == [{"path": "/item", "detail": "Input should be a valid string"}]


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (lambda e: 1 // 0, "ZeroDivisionError"),
        (lambda e: Delay(e, 1.0), "only the bus"),
        (lambda e: replace(e, id="other"), "must stay"),
        (lambda e: replace(e, source="other"), "must stay"),
        (middleware.route(lambda e: "elsewhere", ["big"], "astray"), "not among big"),
    ],
)
def test_a_step_that_fails_refuses_its_event_and_says_why(step: Any, words: str) -> None:
    """Another event of the batch is not touched by it."""
    passed = chain(lambda e: step(e) if e.id == "1" else e).run("t", [event(number=1), event(number=2)])
    assert [one.outcome for one in passed] == [Outcome.REFUSED, Outcome.PASSED]
    assert words in str(passed[0].error)


@given(st.floats(0, 1), st.lists(st.text(min_size=1), unique=True, max_size=50))
def test_a_sample_chooses_the_same_events_again(rate: float, ids: list[str]) -> None:
    """A retry meets the same answer, on every replica; none at 0 and all at 1."""
    events = [Event(one, "s", "t", NOW, b"{}") for one in ids]
    step = middleware.sample(rate)
    assert [step(one) for one in events] == [step(replace(one)) and one for one in events]
    assert all(middleware.sample(1)(one) is one and middleware.sample(0)(one) is None for one in events)


def test_a_sample_keeps_about_its_rate() -> None:
    """Of ten thousand ids a tenth, give or take."""
    step = middleware.sample(0.1)
    assert 800 < sum(step(event(number=number)) is not None for number in range(10_000)) < 1200


@pytest.mark.parametrize("make", [lambda: middleware.sample(1.1), middleware.redact, lambda: middleware.redact("")])
def test_a_step_that_means_nothing_is_refused_when_it_is_made(make: Any) -> None:
    """Not when the first event comes."""
    with pytest.raises(Invalid):
        make()


def test_an_app_has_a_chain_for_each_topic_and_way_in_the_order_of_declaration() -> None:
    """Steps of all topics and of one, those of some types only for these."""
    app = nerv.App("shop")
    app.use(middleware.redact("card"), types="shop.*")
    app.use(middleware.filter(lambda e: False, "none"), topic="b")
    app.use(middleware.enrich(lambda e: {"seen": True}, "seen"), way="subscribe")
    assert [step.name for step in app.chain("a")] == ["redact(card)"]
    assert [step.name for step in app.chain("b")] == ["redact(card)", "filter(none)"]
    assert [step.name for step in app.chain("b", Way.SUBSCRIBE)] == ["enrich(seen)"]
    other = event(kind="stock.counted.v1")
    assert [one.outcome for one in app.chain("a").run("a", [event(), other])] == [Outcome.CHANGED, Outcome.PASSED]


def test_routing_belongs_on_the_way_to_the_topic() -> None:
    """A subscriber has asked for one topic."""
    with pytest.raises(Misconfigured, match="publish"):
        nerv.App("shop").use(middleware.route(lambda e: None, ["a"], "stay"), way="subscribe")


def test_a_bus_is_given_the_chain_of_a_topic() -> None:
    """The same steps in one process; it has no topics, so what is routed goes on."""
    app, heard = nerv.App("shop"), list[Any]()
    app.use(middleware.redact("card"), middleware.route(lambda e: "big", ["big"], "big"), topic="a")
    app.use(middleware.filter(lambda e: e.id != "2", "not_two"), topic="a")
    bus = EventBus(middleware=app.chain("a"))
    bus.subscribe("*", heard.append, weak=False)
    for number in (1, 2):
        bus.send(event(Order(item="tea"), number))
    assert [one.data for one in heard] == [Order(item="tea", card="***")]
    assert bus.describe().inputs == ("redact(card)", "route(big)", "filter(not_two)")
