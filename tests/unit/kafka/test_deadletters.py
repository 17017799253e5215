# SPDX-License-Identifier: Apache-2.0
"""The record of a dead letter."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerv.cloudevents import from_record
from nerv.errors import Invalid
from nerv.kafka.deadletters import CAUSE, OURS, DeadLetter, Origin, Place, door_letter, letter_of, read_letter
from nerv.types import Event, utc_now
from tests.unit.projector.records_in_memory import Record


class Stamped(Record):
    """A record with a time stamp."""

    def timestamp(self) -> tuple[int, int]:
        """When it was produced, in ms."""
        return 1, 1234


def record(
    value: bytes | None = b"v", key: bytes | None = b"k", headers: list[tuple[str, bytes]] | None = None
) -> Record:
    """A record as a consumer hands it over."""
    return Stamped("t", 2, 7, key, value, headers)  # type: ignore[arg-type]  # Kafka has records without headers


def written(letter: DeadLetter) -> Record:
    """The letter as it stands among the dead letters."""
    made = letter.outgoing("dead")
    return Record("dead", 1, 0, made.key, made.value, list(made.headers))


NAMES = st.text(max_size=10).filter(lambda name: name not in OURS)


@given(st.none() | st.binary(), st.none() | st.binary(), st.none() | st.lists(st.tuples(NAMES, st.binary())), st.text())
def test_a_letter_is_read_as_it_was_written(
    value: bytes | None, key: bytes | None, headers: list[tuple[str, bytes]] | None, cause: str
) -> None:
    """Bytes, key, headers in order and time stamp, of any record; a null stays one."""
    letter = letter_of(record(value, key, headers), cause, "group", attempt=3)
    again = read_letter(written(letter))
    assert dataclasses.replace(again, cause="") == dataclasses.replace(letter, cause="")
    assert (again.origin, again.timestamp_ms) == (Origin("t", 2, 7), 1234)
    assert again.cause == cause.encode("utf-8", "replace").decode()


def test_a_letter_of_a_door_has_its_own_place_as_its_origin() -> None:
    """For its event came into no topic; its later editions keep that origin, and the event is read back whole."""
    event = Event("1", "s", "a.noted.v1", utc_now(), b"{}", subject="k")
    first = read_letter(written(door_letter("a.note.v1", event, b"k", "no")))
    assert (first.by, first.origin, first.origin.of_topic) == ("door:a.note.v1", ("door:a.note.v1", 1, 0), "a.note.v1")
    edition = dataclasses.replace(first, value=b"[]", edited=Place(1, 0)).outgoing("dead")
    again = read_letter(Record("dead", 1, 9, edition.key, edition.value, list(edition.headers)))
    assert (again.origin, again.edited, again.value) == (first.origin, Place(1, 0), b"[]")
    assert from_record(first.headers, first.value, origin="", timestamp_ms=0) == event


def test_what_an_earlier_letter_said_is_left_out() -> None:
    """A letter that was sent back whole and fails again has one cause, the new one."""
    sent_back = written(letter_of(record(), "first", "group"))
    again = letter_of(sent_back, "second", "group").outgoing("dead")
    assert [value for name, value in again.headers if name == CAUSE] == [b"second"]


def test_what_is_no_letter_is_refused() -> None:
    """With its place."""
    with pytest.raises(Invalid, match="t/2/7"):
        read_letter(record())


@pytest.mark.parametrize("text", ["", "t", "t/1", "t/x/1", "/1/2", "t/1/٣", "t/1/-2"])
def test_a_text_that_is_no_origin_is_refused(text: str) -> None:
    """With an example."""
    with pytest.raises(Invalid, match="topic/partition/offset"):
        Origin.parse(text)


def test_places_have_a_text() -> None:
    """Which leads back to them."""
    assert Place.parse(str(Place(3, 42))) == Place(3, 42)
    with pytest.raises(Invalid, match="0:42"):
        Place.parse("0-42")
