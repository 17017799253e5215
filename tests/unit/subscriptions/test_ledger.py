# SPDX-License-Identifier: Apache-2.0
"""The ledger of a subscription: parks, replays, positions; and what people may decide."""

import dataclasses
from collections.abc import Sequence

import pytest

from nerv.errors import Conflict, NotFound
from nerv.kafka.deadletters import Origin, Place
from nerv.subscriptions import Fact, Kind, Ledger, Letter, State, key_text
from nerv.subscriptions.deciding import (
    discard,
    discarded,
    door_edited,
    door_state,
    edited,
    parked,
    release,
    replay,
    replayed,
    resolved,
)
from nerv.types import utc_now

LANE = ("t", 0, "k")


def tell(ledger: Ledger, *facts: Fact) -> Ledger:
    """The ledger with these facts."""
    for fact in facts:
        event = fact.event(utc_now())
        ledger.apply(dataclasses.replace(event, sequence=ledger.version + 1))
    return ledger


def at(offset: int) -> Origin:
    """An origin in partition 0."""
    return Origin("t", 0, offset)


def letter(offset: int, key: str | None = "k", *, held: bool = False, attempt: int = 1) -> Letter:
    """A letter about the record at an offset."""
    return Letter(at(offset), key, Place(0, 100 + offset), "no", attempt, held)


def park(*letters: Letter, epoch: str = "") -> Sequence[Fact]:
    """What tells of these letters."""
    return parked(letters, epoch)


def test_a_key_stops_with_its_first_letter_and_goes_on_with_its_last() -> None:
    """Of this partition; what has no key stops nothing."""
    ledger = tell(Ledger(), *park(letter(3), letter(5, held=True), letter(4, None)))
    assert ledger.is_parked("t", 0, b"k")
    assert not ledger.is_parked("t", 1, b"k")
    assert not ledger.is_parked("t", 0, None)
    tell(ledger, *discard(ledger, [at(3)], "me", "gone"))
    assert ledger.is_parked("t", 0, b"k")
    tell(ledger, *discard(ledger, [at(5), at(4)], "me", "gone"))
    assert not ledger.is_parked("t", 0, b"k")
    assert ledger.letters == {}


def test_letters_of_a_key_stand_in_the_order_of_their_offsets() -> None:
    """Whatever the order in which they were written, and however often."""
    ledger = tell(Ledger(), *park(letter(9, held=True)), *park(letter(3)), *park(letter(9, held=True)))
    assert [one.origin.offset for one in ledger.lane(LANE)] == [3, 9]


def test_a_later_letter_is_not_replayed_before_an_earlier_one() -> None:
    """The order of a key is kept, unless the earlier one is discarded or goes along."""
    ledger = tell(Ledger(), *park(letter(3), letter(5, held=True)))
    with pytest.raises(Conflict, match="t/0/3"):
        replay(ledger, [at(5)], "me")
    tell(ledger, *replay(ledger, [at(5), at(3)], "me", 10.0))
    assert [(one.origin.offset, one.rate) for one in ledger.replaying(("t", 0))] == [(3, 10.0), (5, 10.0)]


def test_what_is_replayed_already_is_not_asked_for_again() -> None:
    """A repeated request changes nothing."""
    ledger = tell(Ledger(), *park(letter(3)))
    tell(ledger, *replay(ledger, [at(3)], "me"))
    assert replay(ledger, [at(3)], "me") == []


def test_a_released_key_takes_along_what_was_held_meanwhile() -> None:
    """Letters that come while it is released go the same way; one that fails again stops it again."""
    ledger = tell(Ledger(), *park(letter(3)))
    tell(ledger, *release(ledger, "k", "me"), *park(letter(5, held=True)))
    assert [one.state for one in ledger.lane(LANE)] == [State.REPLAYING, State.REPLAYING]
    tell(ledger, *park(letter(3, attempt=2)), *park(letter(6, held=True)))
    assert [one.state for one in ledger.lane(LANE)] == [State.DEAD, State.REPLAYING, State.DEAD]
    assert ledger.letters[at(3)].attempt == 2


def test_a_replayed_letter_that_was_processed_is_forgotten() -> None:
    """And its key goes on."""
    ledger = tell(Ledger(), *park(letter(3)))
    tell(ledger, *replay(ledger, [at(3)], "me"), *resolved([at(3)]))
    assert (ledger.letters, ledger.is_parked("t", 0, b"k")) == ({}, False)


def test_a_replay_takes_the_edition() -> None:
    """Of a letter that is dead; one on its way is not edited, nor discarded."""
    ledger = tell(Ledger(), *park(letter(3)))
    tell(ledger, *edited(ledger, at(3), Place(1, 7), "me"))
    assert ledger.letters[at(3)].place == Place(1, 7)
    tell(ledger, *replay(ledger, [at(3)], "me"))
    with pytest.raises(Conflict):
        edited(ledger, at(3), Place(1, 8), "me")
    with pytest.raises(Conflict):
        discard(ledger, [at(3)], "me", "")


def test_what_is_not_there_is_refused() -> None:
    """With its name."""
    with pytest.raises(NotFound, match="t/0/3"):
        replay(Ledger(), [at(3)], "me")
    with pytest.raises(NotFound, match="nobody"):
        release(Ledger(), "nobody", "me")


def test_a_deposed_owner_decides_nothing() -> None:
    """From the event on by which another took the partition."""
    ledger = tell(Ledger(), Fact(Kind.TAKEN, {"epoch": "a", "partitions": ["t/0"]}), *park(letter(1), epoch="a"))
    tell(ledger, Fact(Kind.TAKEN, {"epoch": "b", "partitions": ["t/0"]}))
    tell(ledger, *park(letter(2, held=True), epoch="a"), *resolved([at(1)], "a"))
    assert list(ledger.letters) == [at(1)]
    assert ledger.owns(("t", 0), "b")


def test_positions_only_grow_and_are_of_one_creation() -> None:
    """A position of a subscription that had the name before does not count."""
    ledger = tell(Ledger(), Fact(Kind.CREATED, {"spec": {"topic": "t"}, "who": "me"}))
    tell(
        ledger,
        Fact(Kind.MOVED, {"created": 1, "next": {"t/0": 9}}),
        Fact(Kind.MOVED, {"created": 1, "next": {"t/0": 5}}),
    )
    assert ledger.next == {("t", 0): 9}
    tell(ledger, Fact(Kind.DELETED, {"who": "me"}), Fact(Kind.CREATED, {"spec": {"topic": "t"}, "who": "me"}))
    tell(ledger, Fact(Kind.MOVED, {"created": 1, "next": {"t/0": 10}}))
    assert (ledger.created, ledger.next) == (5, {})


def test_an_event_that_says_nonsense_changes_nothing() -> None:
    """Somebody may append anything to any stream."""
    ledger = tell(Ledger(), *park(letter(3)))
    nonsense = {"letters": [1], "origins": ["x"], "next": [], "key": 3, "partitions": ["t/x"]}
    for kind in set(Kind) - {Kind.DELETED}:
        tell(ledger, Fact(kind, {}), Fact(kind, nonsense))
    assert list(ledger.letters) == [at(3)]
    assert ledger.strange > 0


def test_each_key_has_a_text_of_its_own() -> None:
    """Also one that is no UTF-8, looks like another's text, or is long."""
    keys = [b"k", b"\xff", b"base64:/w==", b"", b"x" * 300, b"sha256:00"]
    texts = [key_text(key) for key in keys]
    assert len(set(texts)) == len(keys)
    assert texts[0] == "k"
    assert all(text is not None and len(text) <= 400 for text in texts)


def test_a_letter_of_a_door_is_dead_in_its_last_edition_until_it_is_settled() -> None:
    """Nobody parks it: where it stands is where it came from. What is settled is neither edited nor dead again."""
    origin, ledger = Origin("door:t", 1, 7), Ledger()
    first, second = Place(1, 7), Place(1, 9)
    assert door_state(origin, first, ledger) == "dead"
    tell(ledger, *door_edited(ledger, origin, first, second, "me"))
    assert [door_state(origin, place, ledger) for place in (first, second)] == ["settled", "dead"]
    with pytest.raises(Conflict, match="later edition"):
        door_edited(ledger, origin, first, Place(1, 11), "me")
    tell(ledger, *replayed([origin], "me"))
    assert door_state(origin, second, ledger) == "dead", "until it is published"
    tell(ledger, *resolved([origin]), *(late := door_edited(Ledger(), origin, first, Place(1, 12), "me")))
    assert late
    assert [door_state(origin, place, ledger) for place in (first, second, Place(1, 12))] == ["settled"] * 3


def test_a_letter_of_a_door_that_nobody_wants_is_settled() -> None:
    """And it stops no key, of whatever subscriber."""
    origin = Origin("door:t", 0, 3)
    ledger = tell(Ledger(), *discarded([origin], "me", "a test"))
    assert door_state(origin, Place(0, 3), ledger) == "settled"
    assert (ledger.letters, ledger.parked()) == ({}, {})
