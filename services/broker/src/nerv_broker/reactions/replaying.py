# SPDX-License-Identifier: Apache-2.0
"""A dead letter, as the record that it once was."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from nerv.kafka.deadletters import DeadLetter
from nerv.subscriptions import Letter

PASS = 100  # letters that are tried again together
TIMESTAMP = 1  # confluent_kafka.TIMESTAMP_CREATE_TIME


@dataclass(frozen=True, slots=True)
class Again:
    """A dead letter as the record that it was (`nerv.kafka.Received`)."""

    letter: DeadLetter

    def topic(self) -> str:
        """The topic it stood in."""
        return self.letter.origin.topic

    def partition(self) -> int:
        """Its partition."""
        return self.letter.origin.partition

    def offset(self) -> int:
        """Its place in the partition."""
        return self.letter.origin.offset

    def key(self) -> bytes | None:
        """Its key."""
        return self.letter.key

    def value(self) -> bytes | None:
        """What it carried, or was edited to."""
        return self.letter.value

    def headers(self) -> list[tuple[str, bytes]]:
        """Its headers, without those of the letter."""
        return self.letter.headers

    def timestamp(self) -> tuple[int, int]:
        """Its time stamp."""
        return TIMESTAMP, self.letter.timestamp_ms


def token(reaction: str, letter: Letter) -> str:
    """What a replay of this letter, as it stands there now, is called in a note beside the offsets."""
    text = f"{reaction} {letter.origin} {letter.place}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def noted(tokens: Iterable[str]) -> str:
    """A note of these: 17 bytes each, of 4,096."""
    return " ".join(tokens)


def tokens(notes: Mapping[tuple[str, int], str]) -> set[str]:
    """The tokens in notes."""
    return {one for note in notes.values() for one in note.split()}


def first_part(letters: Sequence[Letter]) -> Sequence[Letter]:
    """The letters that are tried again together now: those of one rate, as many as a tenth of a second has of them."""
    rate = letters[0].rate
    size = PASS if rate is None else max(1, min(PASS, int(rate / 10)))
    return list(takewhile(lambda letter: letter.rate == rate, letters[:size]))
