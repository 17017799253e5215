# SPDX-License-Identifier: Apache-2.0
"""The fold of a subscription's stream: its dead letters, the keys that they stop, and how far it has come. Pure."""

import base64
import hashlib
from bisect import insort
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import orjson

from nerv.errors import Invalid
from nerv.kafka.deadletters import Origin, Place
from nerv.subscriptions.facts import Kind
from nerv.types import Event

SHOWN = 200  # characters of a cause that the ledger keeps; the letter itself has all of it
LONGEST_KEY = 256  # bytes of a key that are shown as they are
BINARY = "base64:"
DIGEST = "sha256:"

Partition = tuple[str, int]
Lane = tuple[str, int, str]
"""Topic, partition and key: what has an order of its own."""


class State(StrEnum):
    """Where a letter stands. One that is settled is in no ledger any more."""

    DEAD = "dead"
    REPLAYING = "replaying"


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter of a subscription. `place` is the record, or edition of it, that a replay takes. `held`: it did not
    fail itself, it came behind one of its key that did."""

    origin: Origin
    key: str | None
    place: Place
    cause: str
    attempt: int = 1
    held: bool = False
    state: State = State.DEAD
    rate: float | None = None

    @property
    def lane(self) -> Lane | None:
        """What stops with it; None where it has no key."""
        return None if self.key is None else (self.origin.topic, self.origin.partition, self.key)

    def data(self) -> dict[str, Any]:
        """As a `parked` event has it."""
        return {
            "origin": str(self.origin),
            "key": self.key,
            "place": str(self.place),
            "cause": self.cause[:SHOWN],
            "attempt": self.attempt,
            "held": self.held,
        }


def letter_from(data: Mapping[str, Any]) -> Letter:
    """The letter that a `parked` event tells of."""
    origin, place = Origin.parse(data["origin"]), Place.parse(data["place"])
    return Letter(origin, data["key"], place, data["cause"], data["attempt"], data["held"])


def key_text(key: bytes | None) -> str | None:
    """A key as text, each as another: UTF-8; base64 where it is not, or could be mistaken for it; a digest of a long one."""
    if key is None:
        return None
    if len(key) > LONGEST_KEY:
        return DIGEST + hashlib.sha256(key).hexdigest()
    with suppress(UnicodeDecodeError):
        text = key.decode()
        if not text.startswith((BINARY, DIGEST)):
            return text
    return BINARY + base64.b64encode(key).decode()


def partition_text(partition: Partition) -> str:
    """`topic/partition`."""
    return f"{partition[0]}/{partition[1]}"


def parse_partition(text: str) -> Partition:
    """The other way round."""
    topic, _, number = text.rpartition("/")
    return topic, int(number)


class Ledger:
    """The state of one subscription, event by event. What a deposed owner of a partition wrote is passed over."""

    def __init__(self) -> None:
        self.version = 0
        self.strange = 0  # events that say nonsense
        self._clear(None, 0)

    def _clear(self, spec: Mapping[str, Any] | None, created: int) -> None:
        """One that is created anew has nothing of the one before."""
        self.spec = spec
        self.created = created  # the version that created it, 0 while there is none
        self.next: dict[Partition, int] = {}
        self.letters: dict[Origin, Letter] = {}
        # Of the letters of a door, which nobody parks: the last edition of each that was edited, None of one that is settled.
        self.decided: dict[Origin, Place | None] = {}
        self.skipped = 0
        self._epochs: dict[Partition, str] = {}
        self._lanes: dict[Lane, list[Origin]] = {}
        self._releasing: set[Lane] = set()

    def apply(self, event: Event[bytes]) -> None:
        """Fold the next event of the stream. Kinds that are not known here were written by a later release; one that says
        nonsense, by somebody else: both change nothing.
        """
        self.version = event.sequence or self.version + 1
        rule = _RULES.get(event.type)
        if rule is None:
            return
        try:
            rule(self, orjson.loads(event.data))
        except (Invalid, AttributeError, KeyError, TypeError, ValueError):
            self.strange += 1

    def lane(self, lane: Lane) -> list[Letter]:
        """The letters of a key, in order."""
        return [self.letters[origin] for origin in self._lanes.get(lane, ())]

    def parked(self) -> dict[Lane, list[Letter]]:
        """The keys that stop, each with its letters in order."""
        return {lane: self.lane(lane) for lane in self._lanes}

    def lanes_of(self, key: str) -> list[Lane]:
        """Where a key is parked; in more than one partition where its producers did not agree."""
        return sorted(lane for lane in self._lanes if lane[2] == key)

    def is_parked(self, topic: str, partition: int, key: bytes | None) -> bool:
        """Whether the events of this key wait for letters that came before them."""
        text = key_text(key)
        return text is not None and (topic, partition, text) in self._lanes

    def edition(self, origin: Origin) -> Place | None:
        """The last edition of a letter of a door, which is dead until it is settled; then None."""
        return self.decided.get(origin, Place(origin.partition, origin.offset))

    def replaying(self, partition: Partition) -> list[Letter]:
        """The letters of a partition that go to the subscriber again, in the order of their origins."""
        found = [one for one in self.letters.values() if one.state is State.REPLAYING and one.origin[:2] == partition]
        return sorted(found, key=lambda one: one.origin)

    def owns(self, partition: Partition, epoch: str) -> bool:
        """Whether this epoch is the one that decides for the partition."""
        return self._epochs.get(partition) == epoch

    def _created(self, data: Mapping[str, Any]) -> None:
        self._clear(data["spec"], self.version)

    def _deleted(self, data: Mapping[str, Any]) -> None:
        self._clear(None, 0)

    def _taken(self, data: Mapping[str, Any]) -> None:
        for partition in data["partitions"]:
            self._epochs[parse_partition(partition)] = data["epoch"]

    def _moved(self, data: Mapping[str, Any]) -> None:
        if data["created"] != self.created:
            return  # of a subscription that had this name before
        # Whoever says it, deposed or not: what was acknowledged once is so for ever.
        for text, offset in data["next"].items():
            partition = parse_partition(text)
            self.next[partition] = max(offset, self.next.get(partition, 0))

    def _parked(self, data: Mapping[str, Any]) -> None:
        for letter in map(letter_from, data["letters"]):
            if self._deposed(letter.origin, data):
                continue
            lane = letter.lane
            if lane is None:
                self.letters[letter.origin] = letter
                continue
            origins = self._lanes.setdefault(lane, [])
            if letter.origin not in self.letters:
                insort(origins, letter.origin)
            if not letter.held:
                self._releasing.discard(lane)
            state = State.REPLAYING if lane in self._releasing else State.DEAD
            self.letters[letter.origin] = replace(letter, state=state)

    def _skipped(self, data: Mapping[str, Any]) -> None:
        self.skipped += len(data["origins"])

    def _replayed(self, data: Mapping[str, Any]) -> None:
        for origin in map(Origin.parse, data["origins"]):
            if (letter := self.letters.get(origin)) is not None:
                self.letters[origin] = replace(letter, state=State.REPLAYING, rate=data.get("rate"))

    def _released(self, data: Mapping[str, Any]) -> None:
        for lane in self.lanes_of(data["key"]):
            self._releasing.add(lane)
            self._replayed({"origins": map(str, self._lanes[lane]), "rate": data.get("rate")})

    def _edited(self, data: Mapping[str, Any]) -> None:
        origin = Origin.parse(data["origin"])
        if (letter := self.letters.get(origin)) is not None:
            self.letters[origin] = replace(letter, place=Place.parse(data["place"]))
        elif origin.at_door and self.edition(origin) is not None:
            self.decided[origin] = Place.parse(data["place"])

    def _resolved(self, data: Mapping[str, Any]) -> None:
        origins = map(Origin.parse, data["origins"])
        self._forget(origin for origin in origins if not self._deposed(origin, data))

    def _discarded(self, data: Mapping[str, Any]) -> None:
        self._forget(map(Origin.parse, data["origins"]))

    def _forget(self, origins: Iterable[Origin]) -> None:
        for origin in origins:
            letter = self.letters.pop(origin, None)
            if origin.at_door:
                self.decided[origin] = None
            if letter is None or letter.lane is None:
                continue
            left = self._lanes[letter.lane]
            left.remove(origin)
            if not left:
                del self._lanes[letter.lane]
                self._releasing.discard(letter.lane)

    def _deposed(self, origin: Origin, data: Mapping[str, Any]) -> bool:
        known = self._epochs.get(origin[:2])
        return known is not None and known != data.get("epoch")


_RULES = {
    Kind.CREATED.value: Ledger._created,
    Kind.DELETED.value: Ledger._deleted,
    Kind.TAKEN.value: Ledger._taken,
    Kind.MOVED.value: Ledger._moved,
    Kind.PARKED.value: Ledger._parked,
    Kind.SKIPPED.value: Ledger._skipped,
    Kind.REPLAYED.value: Ledger._replayed,
    Kind.RELEASED.value: Ledger._released,
    Kind.EDITED.value: Ledger._edited,
    Kind.RESOLVED.value: Ledger._resolved,
    Kind.DISCARDED.value: Ledger._discarded,
}
