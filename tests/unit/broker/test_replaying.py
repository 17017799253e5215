# SPDX-License-Identifier: Apache-2.0
"""Which dead letters are tried again together, and what is noted of them beside the offsets."""

from dataclasses import replace

import pytest

from nerv.kafka.deadletters import Origin, Place
from nerv.subscriptions import Fact, Kind, Ledger, Letter
from nerv.subscriptions.deciding import parked
from nerv.types import utc_now
from nerv_broker.reactions.parking import _free
from nerv_broker.reactions.replaying import PASS, first_part, noted, token, tokens

LETTERS = [Letter(Origin("t", 0, n), "k", Place(0, n), "cause") for n in range(300)]


@pytest.mark.parametrize(("rate", "size"), [(None, PASS), (0.5, 1), (10.0, 1), (200.0, 20), (1e6, PASS)])
def test_a_part_is_what_a_tenth_of_a_second_has_of_them(rate: float | None, size: int) -> None:
    """In order, at least one; without a rate a whole pass."""
    letters = [replace(one, rate=rate) for one in LETTERS]
    assert first_part(letters) == letters[:size]


def test_letters_of_another_rate_wait_for_the_next_part() -> None:
    """Somebody asked for them at another time."""
    assert first_part([*LETTERS[:2], replace(LETTERS[2], rate=5.0)]) == LETTERS[:2]


def test_a_note_tells_which_letters_stand_and_fits() -> None:
    """Another edition, or another reaction, is another; a whole pass is below what Kafka takes."""
    names = {
        token(reaction, letter) for reaction in "ab" for letter in (LETTERS[0], replace(LETTERS[0], place=Place(1, 7)))
    }
    assert len(names) == 4
    note = noted(token("a", one) for one in LETTERS[:PASS])
    assert len(note) < 4096
    assert tokens({("t", 0): note, ("t", 1): ""}) == {token("a", one) for one in LETTERS[:PASS]}


def test_behind_a_dead_letter_of_its_key_none_is_tried() -> None:
    """Whoever died between the failure of the first and the others being told to wait."""
    ledger = Ledger()
    letters = [
        replace(one, origin=Origin("t", 0, n), key=key)
        for n, (one, key) in enumerate(zip(LETTERS, "aab", strict=False))
    ]
    for number, fact in enumerate([*parked(letters), *replayed([letters[1], letters[2]])], start=1):
        ledger.apply(replace(fact.event(utc_now()), sequence=number))
    assert [one.origin.offset for one in _free(ledger, {("t", 0)})] == [2]


def replayed(letters: list[Letter]) -> list[Fact]:
    """Somebody asked for these."""
    return [Fact(Kind.REPLAYED, {"origins": [str(one.origin) for one in letters], "rate": None, "who": "test"})]
