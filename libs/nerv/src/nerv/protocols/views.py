# SPDX-License-Identifier: Apache-2.0
"""The view port: read models of one projection, kept with the position that they cover."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import orjson

from nerv.api.projection.v1 import projection_pb2


@dataclass(frozen=True, slots=True)
class Epoch:
    """One life of a projection's views, from an empty store on. `topics` maps each topic it reads to Kafka's id of it.

    `first` and `goal`: for each partition of history where it begins, and what history held then; it has caught up when all of
    that is folded. `fingerprint`: the code that began it. `indexes`: by which its views are found, each with a digest of how.
    """

    token: str
    topics: Mapping[str, str]
    first: Mapping[int, int] = field(default_factory=dict)
    goal: Mapping[int, int] = field(default_factory=dict)
    fingerprint: str = ""
    indexes: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """All but the token."""
        about = {
            "topics": dict(self.topics),
            "offsets": {str(p): [first, self.goal[p]] for p, first in self.first.items()},
            "fingerprint": self.fingerprint,
            "indexes": dict(self.indexes),
        }
        return orjson.dumps(about)

    @classmethod
    def from_json(cls, token: str, data: bytes | None) -> "Epoch":
        """The epoch of a token; where nothing is kept of it, one that fits no topics."""
        found: Any = orjson.loads(data) if data else {"topics": {}, "offsets": {}, "fingerprint": "", "indexes": {}}
        offsets = {int(p): pair for p, pair in found["offsets"].items()}
        first, goal = ({p: pair[side] for p, pair in offsets.items()} for side in (0, 1))
        return cls(token, found["topics"], first, goal, found["fingerprint"], found["indexes"])


@dataclass(frozen=True, slots=True)
class Cursor:
    """What is folded of one partition. `origins`: of a rekeyed topic, the next origin position of each partition of history.
    `watermarks`: of a projection in windows, the latest time of an event from each partition of history (microseconds). `mends`:
    how often a parked key of it was folded on, or what is known of one was written anew; so that two owners cannot both do it.
    """

    topic_id: str
    next_offset: int
    origins: Mapping[int, int] = field(default_factory=dict)
    watermarks: Mapping[int, int] = field(default_factory=dict)
    mends: int = 0

    def to_bytes(self) -> bytes:
        """As it is stored (nerv.api.projection.v1.Cursor)."""
        message = projection_pb2.Cursor(
            topic_id=self.topic_id, next_offset=self.next_offset, origins=self.origins, watermarks=self.watermarks,
            mends=self.mends,
        )  # fmt: skip
        return message.SerializeToString(deterministic=True)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Cursor":
        """The cursor that was stored."""
        message = projection_pb2.Cursor.FromString(data)
        origins, watermarks = dict(message.origins), dict(message.watermarks)
        return cls(message.topic_id, message.next_offset, origins, watermarks, message.mends)


@dataclass(frozen=True, slots=True)
class View:
    """One entity: how many events are folded into it, its state as JSON, and why it is parked, if it is.

    A state of `null` is an entity that has been removed. `index`: the entries by which it is found (`nerv.projections.indexes`).
    `partition`: that of the folded topic which its events come from; told to the store with a write, and read back by nobody.
    """

    version: int
    state: bytes
    parked: Mapping[str, str] | None = None
    index: tuple[str, ...] = ()
    partition: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Move:
    """A partition's cursor goes from `seen`, exactly as it was stored, to `cursor`; `folded` events lie between.

    `mended`: keys that were parked, and are not any more if their views say so. No other write touches a parked key.
    """

    seen: bytes
    cursor: Cursor
    folded: int = 0
    mended: Set[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Progress:
    """Where an epoch stands: the cursors as stored, how many events are folded, and entities there are.

    By partition of the folded topic: how many keys are parked, and the bytes of the views as they are stored, without their
    keys and the store's own overhead. Partitions that have none may be left out.
    """

    cursors: Mapping[int, bytes]
    folded: int
    entities: int
    parked_in: Mapping[int, int] = field(default_factory=dict)
    size_in: Mapping[int, int] = field(default_factory=dict)

    @property
    def parked(self) -> int:
        """Keys that are parked, in all partitions."""
        return sum(self.parked_in.values())

    @property
    def size(self) -> int:
        """Bytes of all views."""
        return sum(self.size_in.values())


@dataclass(frozen=True, slots=True)
class Span:
    """The members of an index from `low` on, up to but without `high`."""

    low: bytes
    high: bytes

    def beyond(self, member: bytes, *, backward: bool) -> "Span":
        """What is left of it behind a member, in the order in which it is gone through."""
        return Span(self.low, min(member, self.high)) if backward else Span(max(member + b"\x00", self.low), self.high)


class Verdict(StrEnum):
    """What became of a batch. Nothing is written unless it is DONE."""

    DONE = "done"
    MOVED = "moved"  # a cursor is not where the batch continues: another owner was here
    REPLACED = "replaced"  # another epoch has begun, or the store was wiped


class Views(Protocol):
    """The views of one projection. Every write is all or nothing, and names the epoch and the cursors it continues.

    All may be wiped at any time: then there is no epoch, and `begin` starts over. Errors: Unavailable (nothing happened),
    UnknownOutcome (read `progress` to learn the truth). Implemented in memory by `nerv.testing`, on Redis by *projector*.
    """

    async def epoch(self) -> Epoch | None:
        """The present epoch; None when there is none."""
        ...

    async def begin(self, new: Epoch, cursors: Mapping[int, Cursor], *, instead_of: Epoch | None) -> Epoch:
        """Begin an epoch with these first cursors, if `instead_of` still is the present one; answers the present one then."""
        ...

    async def progress(self, epoch: Epoch) -> Progress:
        """Where an epoch stands. One that is gone has no cursors."""
        ...

    async def load(self, epoch: Epoch, keys: Sequence[str]) -> dict[str, View]:
        """The views of these keys; those that do not exist are left out."""
        ...

    async def apply(self, epoch: Epoch, moves: Mapping[int, Move], views: Mapping[str, View]) -> Verdict:
        """Write views and the cursors that cover them together, if every cursor still is as `moves` saw it.

        Each view is of a partition whose cursor moves.
        """
        ...

    async def page(
        self, epoch: Epoch, after: str | None, limit: int, span: Span | None = None, *,
        backward: bool = False, parked: bool = False,
    ) -> list[tuple[str, View]]:  # fmt: skip
        """At most `limit` views with keys beyond `after`, in order of the keys' UTF-8 bytes; with `parked` those alone that are.

        With a `span`, views by its members of the index instead (`nerv.projections.indexes`), in their order or backwards; each
        comes with its member. One that changes meanwhile may be missed, or come at its old place and at the new one.
        """
        ...

    async def drop(self, epoch: Epoch) -> None:
        """Delete what is left of an epoch that is not the present one. Harmless to repeat."""
        ...
