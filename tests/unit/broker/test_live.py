# SPDX-License-Identifier: Apache-2.0
"""A topic that is read once for all who follow it: each gets what he would have got alone, from wherever he comes."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

import nerv
from nerv.types import Event
from nerv_broker.middleware import Chains
from nerv_broker.subscriptions.lines import Line
from nerv_broker.subscriptions.live import Live, Ring
from nerv_broker.subscriptions.reading import Reading
from nerv_broker.subscriptions.widths import Widths

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)
PARTITIONS = 3
CHAINS = Chains(nerv.App("test"), 1)


def some(partition: int, offset: int) -> Line:
    """A record; of every fifth nothing is an event, every seventh is dropped."""
    origin = f"t/{partition}/{offset}"
    if offset % 5 == 4:
        return Line(partition, offset, origin, None)
    event = Event(origin, "test", f"kind.{offset % 2}", NOON, b"{}")
    return Line(partition, offset, origin, None if offset % 7 == 6 else event, offset % 7 == 6)


def reading(offsets: dict[int, int], chooses: Callable[[Event[bytes]], bool] | None) -> Reading:
    """Somebody at these offsets."""
    return Reading("t", dict(offsets), None, chooses, None, CHAINS, whole=True)


def places(sent: bytes) -> list[tuple[int, int]]:
    """Partition and offset of each event of an answer, malformed ones too."""
    found = []
    for block in sent.decode().split("\n\n"):
        if "data: " in block:
            first = block.split("\n")[0][4:].split(",")[0].split(":")
            found.append((int(first[0]), int(first[1]) - 1))
    return found


def wanted(
    lines: Sequence[Line], start: dict[int, int], chooses: Callable[[Event[bytes]], bool] | None
) -> list[tuple[int, int]]:
    """What somebody gets who reads these alone."""
    return [
        (one.partition, one.offset)
        for one in lines
        if one.offset >= start[one.partition]
        and not one.dropped
        and (one.event is None or chooses is None or chooses(one.event))
    ]


rounds = st.lists(st.lists(st.integers(0, PARTITIONS - 1), min_size=1, max_size=5), min_size=1, max_size=12)
starts = st.lists(st.integers(0, 12), min_size=PARTITIONS, max_size=PARTITIONS)


@given(rounds, starts, st.booleans(), st.data())
def test_whoever_joins_gets_each_event_once_and_can_go_on_from_every_id(
    shape: list[list[int]], start: list[int], picky: bool, data: st.DataObject
) -> None:
    """From any position that the ring still covers, before or after its end; what is sent after an id is all that there is for
    somebody who comes back with it.
    """
    chooses = (lambda event: event.type == "kind.1") if picky else None
    at = dict.fromkeys(range(PARTITIONS), 0)
    lines: list[list[Line]] = []
    for partitions in shape:
        made = []
        for partition in partitions:
            made.append(some(partition, at[partition]))
            at[partition] += 1
        lines.append(made)
    ring = Ring(dict.fromkeys(range(PARTITIONS), 0))
    joined = data.draw(st.integers(0, len(lines)))
    for made in lines[:joined]:
        ring.add(made)
    offsets = dict(enumerate(start))
    one = reading(offsets, chooses)
    number = ring.entry(one.offsets)
    assert number is not None
    parts = []
    for later in [*lines[joined:], None]:
        found = ring.since(number)
        assert found is not None
        number += len(found)
        parts.append(one.follow(found))
        if later is not None:
            ring.add(later)
    sent = b"".join(parts)
    flat = [line for made in lines for line in made]
    assert places(sent) == wanted(flat, offsets, chooses)
    blocks = sent.split(b"\n\n")
    for number, block in enumerate(blocks):
        if block:
            name = block.decode().partition("\n")[0][4:]
            after = {int(p): int(o) for p, _, o in (pair.partition(":") for pair in name.split(",")[:-1])}
            assert name.endswith(",*")
            assert set(wanted(flat, after, chooses)) == set(places(b"\n\n".join(blocks[number + 1 :])))


def test_a_ring_is_bounded_and_says_so_to_who_is_too_slow() -> None:
    """The oldest rounds go; who needs them has no way in, and who waited too long is told."""
    ring = Ring({0: 0}, kept=1000)
    for offset in range(100):
        ring.add([some(0, offset)])
    assert 0 < ring.first < ring.next == 100
    assert ring.since(0) is None
    assert ring.entry({0: 0}) is None
    first = ring.entry({0: ring.first})
    assert first == ring.first
    assert ring.entry({0: 100}) == ring.entry({0: 500}) == 100
    assert ring.entry({0: 100, 1: 0}) is None  # another number of partitions


async def test_a_bell_that_nobody_hears_keeps_nothing() -> None:
    """Who has gone while he waited is not waited for."""
    live = Live("t", {0: 0}, CHAINS, 10.0)
    live._task = asyncio.create_task(asyncio.Event().wait())  # type: ignore[arg-type]  # as if it read
    waiting = [asyncio.create_task(live.rounds(0)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    live.ring.add([some(0, 0)])
    await live._ring()
    assert waiting[0].cancelled()
    assert [len(task.result() or []) for task in waiting[1:]] == [1, 1]
    assert live._waiting == []
    await live.close()


def test_who_reads_a_whole_topic_reads_what_it_is_given_later() -> None:
    """From the beginning of each new partition; who named some partitions reads these for ever."""
    whole, some_alone = reading({0: 5}, None), Reading("t", {0: 5}, None, None, None, CHAINS)
    for one in (whole, some_alone):
        one.widen(3)
    assert (whole.offsets, some_alone.offsets) == ({0: 5, 1: 0, 2: 0}, {0: 5})
    assert (whole.begin(), some_alone.begin()) == (b"id: 0:5,1:0,2:0,*\n\n", b"id: 0:5\n\n")


class Growing:
    """A Kafka whose topics have more partitions each time."""

    def __init__(self) -> None:
        self.partitions = 1

    async def counts(self, topics: list[str]) -> dict[str, int]:
        """Of each."""
        self.partitions += 1
        return dict.fromkeys(topics, self.partitions)


async def test_only_topics_that_are_read_are_looked_at() -> None:
    """What is known never shrinks; of a topic that nobody reads any more nothing is kept."""
    widths = Widths(Growing())  # type: ignore[arg-type]  # all of a survey that is asked
    assert await widths.look() == {}
    with widths.reading("t", 4):
        assert [await widths.look() for _ in range(3)] == [{"t": 4}, {"t": 4}, {"t": 5}]
        assert widths.of("t") == 5
        with widths.reading("t", 4):
            assert widths.of("t") == 5
    widths.note({"t": 9})
    assert await widths.look() == {}
