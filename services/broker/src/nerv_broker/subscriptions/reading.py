# SPDX-License-Identifier: Apache-2.0
"""How far one subscription has come, and what it sends of what is read. No I/O but to find its start."""

from collections.abc import Callable, Mapping, Sequence

import orjson

from nerv.errors import Invalid
from nerv.kafka import Received
from nerv.kafka.survey import Survey
from nerv.types import Event
from nerv_broker.middleware import Chains
from nerv_broker.subscriptions.asked import Form
from nerv_broker.subscriptions.lines import Line, body, line, with_record
from nerv_broker.subscriptions.live import Round
from nerv_broker.subscriptions.pacing import Pacer
from nerv_broker.subscriptions.positions import Edge, Place, position

Offsets = dict[int, int]


class Reading:
    """How far one subscription has come. `offsets` are the next ones to read, `until` the first ones that are not wanted.

    `chooses` is None where everything is wanted, `pacer` where it is wanted as fast as can be. One that is `whole` reads also the
    partitions that its topic is given later.
    """

    def __init__(
        self,
        topic: str,
        start: Offsets,
        until: Offsets | None,
        chooses: Callable[[Event[bytes]], bool] | None,
        pacer: Pacer | None,
        chains: Chains,
        form: Form = Form.EVENT,
        *,
        whole: bool = False,
    ) -> None:
        self.whole = whole
        self.topic, self.offsets, self.until, self.pacer = topic, start, until, pacer
        self._chooses, self._chains, self._form = chooses, chains, form
        self._passed = False  # records that were passed over since the last event that was sent
        self._level = False  # with the rounds that it follows: their ids are its own

    @property
    def follows(self) -> bool:
        """Whether it goes on for ever at the speed of the topic, so that what is read for others will do."""
        return self.until is None and self.pacer is None and self._form is Form.EVENT

    def begin(self) -> bytes:
        """The position to begin with, so that the reader can go on from here whatever happens; and the end of a range."""
        first = f"id: {self._position()}\n"
        if self.until is None:
            return f"{first}\n".encode()
        return f"{first}event: range\ndata: ".encode() + orjson.dumps({"to": position(self.until)}) + b"\n\n"

    def end(self) -> bytes:
        """That the range was read whole."""
        return f"id: {self._position()}\nevent: end\ndata: {{}}\n\n".encode()

    def reached(self, read: Mapping[tuple[str, int], int]) -> None:
        """Nothing more is before these offsets: what a partition ends with may be no records, which no consumer sees."""
        for (_, partition), offset in read.items():
            most = offset if self.until is None else min(offset, self.until[partition])
            self.offsets[partition] = max(self.offsets[partition], most)

    def ended(self) -> bool:
        """Whether the range is read whole."""
        return self.until is not None and all(offset >= self.until[p] for p, offset in self.offsets.items())

    def take(self, record: Received) -> Line | None:
        """What to send of a record that was read for this subscription alone; None for nothing. Moves on."""
        partition, offset = record.partition(), record.offset()
        if self.until is not None and offset >= self.until[partition]:
            return None
        self.offsets[partition] = offset + 1
        found = line(record, self.topic, self._chains)
        if not self._wants(found):
            return None
        return found if self._form is Form.EVENT else with_record(found, record, self._chains, self.topic)

    def piece(self, found: Line) -> bytes:
        """One event with the position after it."""
        self._passed = False
        return b"id: " + self._position(found.partition).encode() + b"\n" + body(found)

    def passed(self) -> bytes | None:
        """The position, where records were passed over since the last event: from there the reader may go on."""
        if not self._passed:
            return None
        self._passed = False
        return f"id: {self._position()}\n\n".encode()

    def _position(self, partition: int | None = None) -> str:
        return position(self.offsets, partition, others=self.whole)

    def follow(self, rounds: Sequence[Round]) -> bytes:
        """What to send of rounds that are read for all who follow. Moves on."""
        return b"".join(map(self._all if self._chooses is None else self._chosen, rounds))

    def widen(self, partitions: int) -> None:
        """Its topic has so many partitions: all that is in new ones came after it had begun."""
        if self.whole:
            self.offsets = dict.fromkeys(range(partitions), 0) | self.offsets

    def alone(self) -> None:
        """It reads for itself from here on."""
        self._level, self.offsets = False, dict(self.offsets)

    def _all(self, one: Round) -> bytes:
        if not self._level:
            return self._rest(one)
        self.offsets = one.after  # type: ignore[assignment]  # the round's own: alone() takes a copy before it is changed
        return one.whole

    def _chosen(self, one: Round) -> bytes:
        if not self._level:
            return self._rest(one)
        self.offsets = one.after  # type: ignore[assignment]  # as above
        parts = []
        for found, written in one.lines:
            if self._wants(found):
                parts.append(written)
                self._passed = False
        if (rest := self.passed()) is not None:
            parts.append(rest)
        return b"".join(parts)

    def _rest(self, one: Round) -> bytes:
        """Of a round some lines of which were read before, or whose other partitions are behind: with ids of its own."""
        parts = []
        for found, _ in one.lines:
            if found.offset >= self.offsets[found.partition]:
                self.offsets[found.partition] = found.offset + 1
                if self._wants(found):
                    parts.append(self.piece(found))
        if (rest := self.passed()) is not None:
            parts.append(rest)
        self._level = all(one.after[partition] >= offset for partition, offset in self.offsets.items())
        return b"".join(parts)

    def _wants(self, found: Line) -> bool:
        if found.dropped or (found.event is not None and self._chooses is not None and not self._chooses(found.event)):
            self._passed = True
            return False
        return True


async def resolve(survey: Survey, topic: str, partitions: int, place: Place, *, until: bool = False) -> Offsets:
    """The offset that a place means in each partition that is read. Raises Invalid or Unavailable.

    What is read `until` there waits for what was written before it was asked for, so that all that was acknowledged is in it.
    """
    everything = [(topic, partition) for partition in range(partitions)]
    if place.instant is not None:
        return _numbers(await survey.at(int(place.instant.timestamp() * 1000), everything, written=until))
    if place.edge is Edge.EARLIEST:
        return _numbers(await survey.starts(everything))
    if place.offsets is None:
        return _numbers(await survey.ends(everything, written=until))
    named = [(topic, partition) for partition in place.offsets]
    lows, highs = _numbers(await survey.starts(named)), _numbers(await survey.ends(named, written=True))
    for partition, offset in place.offsets.items():
        low, high = lows[partition], highs[partition]
        if not low <= offset <= high:
            raise Invalid(
                f"{topic} has offsets {low} to {high} in partition {partition}, {offset} is outside; "
                "start from earliest to read what is left"
            )
    others = _numbers(await survey.starts(everything)) if place.others else {}
    return others | dict(place.offsets)


def _numbers(found: Mapping[tuple[str, int], int]) -> Offsets:
    return {partition: offset for (_, partition), offset in sorted(found.items())}
