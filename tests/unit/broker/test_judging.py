# SPDX-License-Identifier: Apache-2.0
"""What a published event is known by, what one transaction writes, and what is remembered."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerv.errors import IdConflict, Invalid
from nerv.types import Event
from nerv_broker.publishing.judging import (
    Placed,
    Publication,
    Receipt,
    content_digest,
    identities,
    owner_key,
    plan,
)
from nerv_broker.publishing.publisher import from_message, to_message
from nerv_broker.publishing.receipts import Window

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)
TOPIC = "a.note.v1"


def event(event_id: str = "1", data: bytes = b'{"n": 1}') -> Event[bytes]:
    """A note."""
    return Event(event_id, "s", "a.noted.v1", NOON, data, subject="k")


def publication(one: Event[bytes], *, key: str | None = None, place: int = 0, who: str = "me") -> Publication:
    """On its way."""
    return Publication(TOPIC, b"k", one, identities(TOPIC, one, place, key, who), content_digest(one))


def nothing(name: bytes) -> Receipt | None:
    """Is known."""
    return None


def test_two_of_one_id_in_a_tick_share_one_record() -> None:
    """The second is told where the first stands; other content under the id is refused, whatever stands before it."""
    first, other = publication(event()), publication(event("2"))
    forged = publication(event(data=b'{"n": 2}'))
    made = plan([first, other, first, forged, other], nothing)
    assert made.written == [first, other]
    assert made.verdicts[:3] + made.verdicts[4:] == [0, 1, 0, 1]
    assert isinstance(made.verdicts[3], IdConflict)


def test_what_is_known_is_answered_by_its_receipt() -> None:
    """The same content: where it stands, as a duplicate. Other content: refused. Nothing is written."""
    known = publication(event())
    receipts = {known.ids[0]: Receipt(known.digest, TOPIC, 3, 42)}
    made = plan([known, publication(event(data=b"{}"))], receipts.get)
    assert made.written == []
    assert made.verdicts[0] == Placed(TOPIC, 3, 42, duplicate=True)
    assert isinstance(made.verdicts[1], IdConflict)


def test_a_repeated_request_is_known_by_its_key_though_its_events_are_made_anew() -> None:
    """New ids and times under the same Idempotency-Key of the same caller, at the same place, are the same events."""
    sent = publication(event("1"), key="request-7")
    again = publication(replace(event("2"), time=datetime(2020, 1, 1, tzinfo=UTC)), key="request-7")
    assert plan([sent, again], nothing).verdicts == [0, 0]
    for stranger in (
        publication(event("3"), key="request-7", place=1),
        publication(event("4"), key="request-7", who="you"),
        publication(event("5"), key="request-8"),
        publication(event("6")),
    ):
        assert plan([sent, stranger], nothing).verdicts == [0, 1]


def test_what_was_sent_with_a_key_is_known_by_its_id_as_well() -> None:
    """And the other way round it is not: a key that was not sent is not known."""
    keyed, plain = publication(event(), key="request-7"), publication(event())
    assert plan([keyed, plain], nothing).verdicts == [0, 0]
    assert plan([plain, keyed], nothing).verdicts == [0, 0]


@pytest.mark.parametrize(
    "change",
    [
        {"data": b"{}"},
        {"type": "other"},
        {"source": "other"},
        {"subject": "other"},
        {"content_type": "text/plain"},
        {"partition_key": "other"},
        {"dataschema": "other"},
        {"correlation_id": "other"},
        {"causation_id": "other"},
    ],
)
def test_everything_but_id_time_and_trace_is_content(change: dict[str, object]) -> None:
    """A change of it is another content."""
    changed: Event[bytes] = replace(event(), **change)  # type: ignore[arg-type]
    assert content_digest(changed) != content_digest(event())
    assert content_digest(replace(event("9"), traceparent="00-1", time=datetime.now(UTC))) == content_digest(event())


def test_attributes_do_not_run_into_each_other() -> None:
    """`ab` and `c` are not `a` and `bc`."""
    left, right = replace(event(), source="ab", type="c"), replace(event(), source="a", type="bc")
    assert content_digest(left) != content_digest(right)


def test_events_of_one_key_have_one_owner() -> None:
    """Whatever their ids; those without a key are owned by id, and a topic's keys are its own."""
    one, two = publication(event("1")), publication(event("2"))
    assert owner_key(one) == owner_key(two)
    assert owner_key(replace(one, key=None)) != owner_key(replace(two, key=None))
    assert owner_key(one) != owner_key(replace(one, topic="b.note.v1"))


@given(st.lists(st.integers(0, 60), max_size=200))
def test_a_window_knows_the_last_ids_and_no_more_than_twice_as_many(numbers: list[int]) -> None:
    """Of the last `size` different ones each is known, with the receipt that it was first given."""
    window, seen = Window(10), []
    for place, number in enumerate(numbers):
        name = b"%016d" % number
        if window.get(name) is None:
            window.add([name], Receipt(name, TOPIC, number, place))
            seen.append((name, place))
        assert len(window) <= 20
    for name, place in seen[-10:]:
        assert window.get(name) == Receipt(name, TOPIC, int(name), place)


@pytest.mark.parametrize(
    "change",
    [
        {"event": event("a\nb")},
        {"event": replace(event(), subject="a\rb")},
        {"ids": ()},
        {"ids": (b"short",)},
        {"ids": (bytes(16),) * 3},
        {"digest": b""},
    ],
)
def test_what_another_replica_would_not_hand_over_is_refused(change: dict[str, object]) -> None:
    """Attributes that no door lets in, and ids that none makes."""
    with pytest.raises(Invalid):
        from_message(to_message([replace(publication(event()), **change)]))  # type: ignore[arg-type]


def test_what_is_no_message_is_refused() -> None:
    """Whatever its bytes are."""
    with pytest.raises(Invalid, match="PublishBatch"):
        from_message(b"\xff\xff")


def test_publications_are_read_back_as_they_were_handed_over() -> None:
    """With a key, without one, and with an empty one, which is not the same."""
    sent = [replace(publication(event(), key="k"), key=key) for key in (b"k", None, b"")]
    sent += [replace(sent[0], unfit=cause) for cause in ("", "/n is missing")]
    assert from_message(to_message(sent)) == sent
