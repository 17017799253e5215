# SPDX-License-Identifier: Apache-2.0
"""What a group keeps of a record in Redis, whole, and how an entry and its delivery are called. Pure."""

import hashlib
import zlib
from typing import Any, NamedTuple

import orjson

from nerv.cloudevents import from_record
from nerv.errors import Invalid
from nerv.kafka import Received
from nerv.kafka.deadletters import DeadLetter, Headers, Origin
from nerv.types import Event

LANES = 32  # that are spread over the members, by key
LATIN = "latin-1"  # each byte a character: what is not text, too, goes through JSON and back


class Entry(NamedTuple):
    """A record of a topic, or a dead letter of it, as it goes through a group."""

    origin: Origin
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int
    before: int = 0  # attempts that ended among the dead letters

    @property
    def scope(self) -> str:
        """What has an order of its own in its partition; the same for the same key, empty without one."""
        return "" if self.key is None else hashlib.blake2b(self.key, digest_size=16).hexdigest()

    def lane(self, lanes: int) -> int:
        """Which lane its key belongs to; without a key one by its offset."""
        return (self.origin.offset if self.key is None else zlib.crc32(self.key)) % lanes

    def event(self) -> Event[bytes]:
        """The event in it. Raises Invalid."""
        return from_record(self.headers, self.value, origin=str(self.origin), timestamp_ms=self.timestamp_ms)

    def pack(self) -> bytes:
        """As Redis keeps it."""
        return orjson.dumps(
            [
                tuple(self.origin),
                _text(self.key),
                _text(self.value),
                [(name, _text(value)) for name, value in self.headers],
                self.timestamp_ms,
                self.before,
            ]
        )

    def letter(self, cause: str, by: str, attempt: int) -> DeadLetter:
        """The dead letter of it."""
        return DeadLetter(self.origin, self.key, self.value, self.headers, self.timestamp_ms, cause, by, attempt)


def unpack(data: bytes) -> Entry:
    """The other way round."""
    origin, key, value, headers, timestamp_ms, before = orjson.loads(data)
    pairs = [(name, _bytes(text)) for name, text in headers]
    return Entry(Origin(*origin), _bytes(key), _bytes(value), pairs, timestamp_ms, before)  # type: ignore[arg-type]


def entry_of(record: Received) -> Entry:
    """A record as it was read."""
    origin = Origin(record.topic(), record.partition(), record.offset())
    return Entry(origin, record.key(), record.value(), list(record.headers() or ()), record.timestamp()[1])


def entry_again(letter: DeadLetter) -> Entry:
    """A dead letter that is replayed."""
    return Entry(letter.origin, letter.key, letter.value, letter.headers, letter.timestamp_ms, letter.attempt)


def entry_id(origin: Origin, *, again: bool) -> str:
    """What the entry is called in Redis."""
    return f"{origin.partition}:{origin.offset}{':r' if again else ''}"


class Token(NamedTuple):
    """One delivery of an entry: who has it in hand shows it. Its text is `entry/life/attempt`."""

    entry: str
    life: str
    attempt: int

    def __str__(self) -> str:
        return f"{self.entry}/{self.life}/{self.attempt}"

    @classmethod
    def parse(cls, text: str) -> "Token":
        """Raises Invalid."""
        entry, _, rest = text.partition("/")
        life, _, attempt = rest.partition("/")
        partition, _, offset = entry.removesuffix(":r").partition(":")
        if not all(_digits(part) for part in (partition, offset, attempt)) or not life.isalnum() or len(life) > 40:
            raise Invalid(f"{text[:80]!r} is no token; send those that come with the events back as they are")
        return cls(entry, life, int(attempt))


class Delivery(NamedTuple):
    """An entry in the hand of a member, until its lease ends."""

    token: Token
    entry: Entry

    def document(self) -> dict[str, Any]:
        """What the member is told beside the event itself."""
        origin = self.entry.origin
        return {
            "token": str(self.token),
            "partition": origin.partition,
            "offset": origin.offset,
            "attempt": self.entry.before + self.token.attempt,
            "replayed": self.token.entry.endswith(":r"),
        }


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 19


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode(LATIN)


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode(LATIN)
