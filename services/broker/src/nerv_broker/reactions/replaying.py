# SPDX-License-Identifier: Apache-2.0
"""A dead letter, as the record that it once was."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

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


def paced(letters: Sequence[Letter]) -> Iterator[Sequence[Letter]]:
    """Letters in parts, in order: those with a rate one by one, others as many together as one pass takes."""
    for rate, group in groupby(letters, key=lambda letter: letter.rate):
        part, size = list(group), 1 if rate is not None else PASS
        for start in range(0, len(part), size):
            yield part[start : start + size]
