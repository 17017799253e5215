# SPDX-License-Identifier: Apache-2.0
"""The decisions of the broker: keys, schemas, what reactions ask for, and positions of subscriptions."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nerv
from nerv.bus import Chain, Passed
from nerv.effects import Append, Publish
from nerv.errors import Invalid, Misconfigured, SchemaMismatch
from nerv.telemetry import Carrier
from nerv.types import Event
from nerv_broker.model import append_request, keyed, listed, published, react
from nerv_broker.subscriptions.positions import Place, parse_place, position

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)
app = nerv.App("test")


@app.event("a.noted.v1", topic="a.note.v1", key="key")
class Noted(nerv.Event):
    """Something, of somebody."""

    key: str = ""
    n: int


@app.on("a.noted.v1")
def twice(event: Noted) -> list[Append | Publish]:
    """Recorded, and said on."""
    return [nerv.append(f"note-{event.key}", event), nerv.publish(Noted(key=event.key, n=event.n + 1))]


def event(data: bytes, **changes: object) -> Event[bytes]:
    """A note."""
    return Event(**({"id": "1", "source": "s", "type": "a.noted.v1", "time": NOON, "data": data} | changes))  # type: ignore[arg-type]


def passed(topic: str, *events: Event[bytes]) -> list[Passed]:
    """Events behind no middleware at all."""
    return Chain().run(topic, events)


def test_the_key_is_the_declared_field_or_the_envelope_s() -> None:
    """An empty field falls back to partition key, then subject, then to no key at all."""
    made = keyed(
        passed(
            "a.note.v1",
            event(b'{"key": "k", "n": 1}', subject="s1"),
            event(b'{"n": 1}', partition_key="p", subject="s1"),
            event(b'{"n": 1}', subject="s1"),
            event(b'{"n": 1}'),
        ),
        app,
        Carrier(),
    )
    assert [one.key for one in made] == [b"k", b"p", b"s1", None]


def test_a_batch_is_taken_whole_or_refused_whole_with_every_fault() -> None:
    """Index, id and path of each that does not fit."""
    good, bad = event(b'{"n": 1}'), event(b'{"n": "x"}', id="2")
    with pytest.raises(SchemaMismatch) as caught:
        keyed(passed("a.note.v1", good, bad, event(b"{}", id="3")), app, Carrier())
    assert [(fault["index"], fault["id"]) for fault in caught.value.errors] == [(1, "2"), (2, "3")]


def test_a_door_that_keeps_what_does_not_fit_lets_the_others_through() -> None:
    """Each with its cause, as it was sent, under the key of its envelope; whether a model or a middleware refused it."""
    good, bad = event(b'{"key": "k", "n": 1}'), event(b'{"key": "k", "n": "x"}', id="2", subject="s2")
    sent = [good, bad, event(b"{}", id="3")]
    behind = passed("a.note.v1", *sent)
    behind[2] = Passed(2, "a.note.v1", None, error=SchemaMismatch("not today"))
    made = keyed(behind, app, Carrier(), ("a.note.v1", sent))
    assert [(one.event, one.key) for one in made] == [(good, b"k"), (bad, b"s2"), (sent[2], None)]
    assert [one.unfit and one.unfit.detail.partition(":")[0] for one in made] == [
        None, "event 2 does not fit a.noted.v1", "not today",
    ]  # fmt: skip


def test_topics_of_nobody_take_any_type_and_those_of_the_app_only_their_own() -> None:
    """A foreign topic is not ours to judge."""
    assert keyed(passed("else.v1", event(b"\xff", type="x")), app, Carrier())
    with pytest.raises(SchemaMismatch, match="declares"):
        keyed(passed("a.note.v1", event(b"{}", type="x")), app, Carrier())
    with pytest.raises(SchemaMismatch, match="belongs on"):
        keyed(passed("else.v1", event(b'{"n": 1}')), app, Carrier())


def test_effects_carry_their_cause_and_the_received_bytes() -> None:
    """Time, correlation and causation are the cause's; the event that came is passed on as it was written."""
    cause = event(b'{ "key":"k",  "n":1 }', correlation_id="c")
    asked = react(app, app.reactions["twice"], cause)
    request = append_request(app, asked[0], asked[0].effect)  # type: ignore[arg-type]
    [recorded] = request.events
    assert (request.stream, recorded.id, recorded.data) == ("note-k", asked[0].id, cause.data)
    assert (recorded.time, recorded.correlation_id, recorded.causation_id) == (NOON, "c", "1")
    said = published(app, asked[1], asked[1].effect)  # type: ignore[arg-type]
    assert (said.topic, said.key, said.event.data) == ("a.note.v1", b"k", b'{"key":"k","n":2}')
    assert asked[0].id != asked[1].id


def test_a_reaction_answers_effects_and_nothing_else() -> None:
    """None, one, many; anything else is named."""
    assert listed(app, None) == []
    with pytest.raises(Misconfigured, match="str"):
        listed(app, ["append"])
    with pytest.raises(Misconfigured, match="int"):
        listed(app, 7)


@given(st.dictionaries(st.integers(0, 9), st.integers(0, 2**40), min_size=1))
def test_a_position_is_read_back_with_its_own_partition_first(offsets: dict[int, int]) -> None:
    """What `id:` says is what `from=` takes."""
    own = max(offsets)
    text = position(offsets, own)
    assert text.startswith(f"{own}:")
    assert parse_place(text, 10, "from") == Place(offsets=offsets)
    assert parse_place(position(offsets, own, others=True), 10, "from") == Place(offsets=offsets, others=True)


@pytest.mark.parametrize(
    "text", ["", "x", "1", "1:", ":1", "10:1", "1:2;3:4", "1:2,", "*", "1:2*", "1:2,*,*", "1:9999999999999999999"]
)
def test_a_wrong_position_is_refused(text: str) -> None:
    """And an instant needs its offset."""
    with pytest.raises(Invalid):
        parse_place(text, 10, "from")
