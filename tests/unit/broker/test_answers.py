# SPDX-License-Identifier: Apache-2.0
"""What reactions answer, alone or in batches: the same effects under the same ids; and what waits for what."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nerv
from nerv.aspects import Aspect, Call, Steps
from nerv.bus import middleware
from nerv.effects.kinds import Append, Publish
from nerv.errors import Misconfigured, SchemaMismatch, TooLarge
from nerv.kafka.deadletters import DeadLetter, Origin
from nerv.limits import Limits
from nerv.types import Event
from nerv_broker.middleware import Chains
from nerv_broker.reactions.answers import Answer, Lane, ahead, hold
from nerv_broker.reactions.planning import Planner
from nerv_broker.reactions.replaying import Again

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)
TOPIC = "a.note.v1"


def make() -> nerv.App:
    """An app with a plain reaction and one that takes batches."""
    app = nerv.App("test")

    @app.event("a.noted.v1", topic=TOPIC, key="key")
    class Noted(nerv.Event):
        """Something, of somebody."""

        key: str
        n: int
        secret: str = ""

    @app.on("a.noted.v1")
    def plain(event: Noted) -> list[Append | Publish]:
        if event.n == 13:
            raise ValueError("thirteen")
        if event.n == 14:
            return [nerv.append(f"note-{event.key}", Noted(key="k", n=0, secret="x" * 300_000))]
        return [nerv.append(f"note-{event.key}", event), nerv.publish(event), nerv.publish(event)]

    @app.on("a.noted.v1", batch=3)
    def many(events: list[Noted]) -> list[Append]:
        if any(event.n == 13 for event in events):
            raise ValueError("thirteen among them")
        return [nerv.append(f"all-{event.key}", event) for event in events]

    app.use(middleware.redact("secret"), topic=TOPIC)
    return app


def planner(app: nerv.App) -> Planner:
    """A planner of its reactions."""
    return Planner(app, Chains(app, 10), Limits(), "nerv")


def record(offset: int, n: int, key: bytes | None = b"k") -> Again:
    """A record of the topic."""
    data = b'{"key": "k", "n": %d, "secret": "s"}' % n
    headers = [
        ("ce_id", b"%d" % offset),
        ("ce_source", b"s"),
        ("ce_type", b"a.noted.v1"),
        ("ce_time", b"2013-01-15T12:00:00Z"),
    ]
    return Again(DeadLetter(Origin(TOPIC, 0, offset), key, data, headers, 0, "", "", 0))


def answered(app: nerv.App, records: list[Again], cuts: list[int]) -> list[Answer]:
    """The answers to records that come in batches, cut at these places."""
    asked, found = planner(app), list[Answer]()
    places = sorted({0, *(cut % (len(records) + 1) for cut in cuts), len(records)})
    for start, end in pairwise(places):
        found += asked.answers([(asked.event(one), one) for one in records[start:end]], {})
    return found


def effects(answers: list[Answer]) -> dict[tuple[str, int], tuple[object, ...]]:
    """What each asks for, with its ids."""
    return {
        (one.reaction.name, one.record.offset()): (
            *((request.stream, request.events[0].id) for request in one.appends),
            *((made.topic, dict(made.headers)["ce_id"]) for made in one.records),
            type(one.error).__name__,
        )
        for one in answers
    }


@given(st.lists(st.integers(0, 20), min_size=1, max_size=20), st.lists(st.integers(0, 100), max_size=10))
def test_an_effect_has_the_same_id_however_events_come_together(numbers: list[int], cuts: list[int]) -> None:
    """A redelivery in other batches, and with a poisoned neighbour, asks for the very same; no two effects share an id."""
    app = make()
    records = [record(offset, n) for offset, n in enumerate(numbers)]
    whole, cut = effects(answered(app, records, [])), effects(answered(app, records, cuts))
    assert whole == cut
    ids = [part[1] for parts in whole.values() for part in parts if isinstance(part, tuple)]
    assert len(ids) == len(set(ids))


def test_one_bad_event_of_a_batch_is_found_and_the_others_are_answered() -> None:
    """By asking for each alone."""
    answers = answered(make(), [record(0, 1), record(1, 13), record(2, 2)], [])
    of_many = [(one.record.offset(), type(one.error)) for one in answers if one.reaction.name == "many"]
    assert of_many == [(0, type(None)), (1, ValueError), (2, type(None))]


def test_what_is_published_goes_through_the_middleware_of_its_topic() -> None:
    """And what is appended does not."""
    [plain, _] = answered(make(), [record(0, 1)], [])
    assert b'"s"' in plain.appends[0].events[0].data
    assert [b'"***"' in (made.value or b"") for made in plain.records] == [True, True]


def test_an_answer_that_cannot_happen_asks_for_nothing() -> None:
    """What is too large for history is known before anything is performed, and no other attempt would help."""
    [plain, _] = answered(make(), [record(0, 14)], [])
    assert isinstance(plain.error, TooLarge)
    assert (plain.good, plain.may_recover) == (False, False)


def test_a_batch_gives_as_many_answers_as_it_took() -> None:
    """Else nobody knows which effect belongs to which event."""
    app = nerv.App("test")
    app.event("a.noted.v1", topic=TOPIC)(nerv.Event)
    app.on("a.noted.v1", batch=5)(lambda events: [None])
    answers = answered(app, [record(0, 1), record(1, 2)], [])
    assert [type(one.error) for one in answers] == [type(None), type(None)]  # each alone gets one
    app.reactions.clear()
    app.on("a.noted.v1", batch=5)(lambda events: None)
    [one] = answered(app, [record(0, 1)], [])
    assert isinstance(one.error, Misconfigured)


def test_aspects_are_around_reactions() -> None:
    """A plain one is a call for each event, one with batch a call for many."""
    app, calls = make(), list[str]()

    class Noting(Aspect):
        name = "noting"

        def around(self, call: Call) -> Steps:
            calls.append(call.target.rpartition(".")[2])
            yield
            return None

    app.weave(Noting())
    answered(app, [record(0, 1), record(1, 2)], [])
    assert calls == ["many", "plain", "plain"]
    with pytest.raises(Misconfigured, match="before"):
        app.weave(Noting())


def answers(*given: tuple[str | None, Exception | None]) -> list[Answer]:
    """Answers with these keys and errors."""
    app = make()
    return [
        Answer(
            app.reactions["plain"],
            record(offset, 1, None if key is None else key.encode()),
            Event(str(offset), "s", "a.noted.v1", NOON, b""),
            error=error,
        )
        for offset, (key, error) in enumerate(given)
    ]


BUG, BAD = ValueError("bug"), SchemaMismatch("bad")


def test_behind_a_failure_its_key_waits_and_others_go_on() -> None:
    """Without a key nothing waits."""
    found = answers(("a", None), ("a", BUG), ("b", None), ("a", None), (None, BUG), (None, None), ("a", BAD))
    stopped: set[Lane] = set()
    hold(found, lambda one: False, stopped)
    assert [one.good for one in found] == [True, False, True, False, False, True, False]
    assert [one.held for one in found] == [False, False, False, True, False, False, True]
    assert {lane[3] for lane in stopped} == {"a"}


def test_a_parked_key_is_not_tried_at_all() -> None:
    """Its error of now is nobody's: it comes behind another."""
    found = answers(("a", BUG), ("b", None))
    hold(found, lambda one: one.record.key() == b"a", set())
    assert [(one.held, one.error) for one in found] == [(True, None), (False, None)]


def test_what_may_recover_waits_with_what_is_behind_it() -> None:
    """The others are performed meanwhile; what cannot recover does not wait."""
    found = answers(("a", BUG), ("b", BAD), ("a", None), ("c", None), (None, BUG), (None, None))
    now, later = ahead(found)
    assert [one.record.offset() for one in now] == [1, 3, 5]
    assert [one.record.offset() for one in later] == [0, 2, 4]
