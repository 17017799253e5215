# SPDX-License-Identifier: Apache-2.0
"""The checker of a list-append history: one log a stream, and all that clients saw must fit into it. Pure.

It is complete for what it looks at, because the final log gives the order: nothing has to be searched. Unit tests break a
good history in each way that a rule names, and `bugs.py` breaks the service itself in twelve.
"""

import hashlib
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise

from nerv.protocols import Expected
from nerv.protocols.history import Expect
from tests.faults.temporal.operations import NEVER, Append, Course, End, Entry, Kind, Log, Read, Seen

Rule = Callable[["Facts"], Iterator[str]]
Lanes = Mapping[int, Sequence[tuple[str, Entry]]]
"""What a reader sees in order: by partition the events with their streams."""


class _Frontier:
    """The highest version among events whose instant lies before a given one."""

    def __init__(self, points: Iterable[tuple[float, int]]) -> None:
        ordered = sorted(points)
        self._instants = [instant for instant, _ in ordered]
        self._highest = list(accumulate((version for _, version in ordered), max))

    def before(self, instant: float) -> int:
        """0 where there is none."""
        found = bisect_left(self._instants, instant)
        return self._highest[found - 1] if found else 0


class Facts:
    """A run in the form in which the rules ask for it."""

    def __init__(self, seen: Seen, log: Log) -> None:
        self.seen, self.log = seen, log
        self.versions = {(s, e.event_id): e.version for s, entries in log.items() for e in entries}
        self.lanes: dict[int, list[tuple[str, Entry]]] = defaultdict(list)
        for stream, entries in log.items():
            for entry in entries:
                self.lanes[entry.partition].append((stream, entry))
        for lane in self.lanes.values():
            lane.sort(key=lambda one: one[1].offset)
        self.invoked: dict[tuple[str, str], float] = {}
        self.acknowledged: dict[tuple[str, str], float] = {}
        self.ends: dict[tuple[str, str], set[End]] = defaultdict(set)
        for one in seen.appends:
            for event_id in one.ids:
                key = (one.stream, event_id)
                self.ends[key].add(one.end)
                self.invoked[key] = min(one.invoked, self.invoked.get(key, NEVER))
                if one.end is End.DONE:
                    self.acknowledged[key] = min(one.completed, self.acknowledged.get(key, NEVER))
        self.at_least: dict[str, _Frontier] = defaultdict(lambda: _Frontier(()))
        self.at_most: dict[str, _Frontier] = defaultdict(lambda: _Frontier(()))
        for stream, entries in log.items():
            keys = [((stream, e.event_id), e.version) for e in entries]
            self.at_least[stream] = _Frontier((self.acknowledged.get(key, NEVER), v) for key, v in keys)
            self.at_most[stream] = _Frontier((self.invoked.get(key, 0.0), v) for key, v in keys)


def versions(facts: Facts) -> Iterator[str]:
    """Versions are 1 to n in the order of the log, recorded time does not go back, and no id is there twice."""
    for stream, entries in facts.log.items():
        if [e.version for e in entries] != list(range(1, len(entries) + 1)):
            yield f"{stream}: the log has versions {_short([e.version for e in entries])}"
        if any(late.recorded_us < early.recorded_us for early, late in pairwise(entries)):
            yield f"{stream}: recorded time goes back"
        ids = [e.event_id for e in entries]
        for event_id in {i for i in ids if ids.count(i) > 1} if len(set(ids)) < len(ids) else ():
            yield f"{stream}: {event_id} is in the log {ids.count(event_id)} times"


def acknowledged(facts: Facts) -> Iterator[str]:
    """What was acknowledged is in the log at the versions that were told, and those fit what was expected."""
    for one in facts.seen.appends:
        if one.end is not End.DONE:
            continue
        for number, event_id in enumerate(one.ids):
            found = facts.versions.get((one.stream, event_id))
            if found != one.version + number:
                yield f"{one.stream}: {event_id} was acknowledged at {one.version + number}, the log has it at {found}"
        if not one.duplicate and not _met(one.expected, one.version - 1):
            yield f"{one.stream}: {one.ids[0]} expected {one.expected} and was done at {one.version}"


def whole(facts: Facts) -> Iterator[str]:
    """The events of a request are in the log all, one after the other, or none of them."""
    for one in facts.seen.appends:
        found = [facts.versions.get((one.stream, event_id)) for event_id in one.ids]
        there = [version for version in found if version is not None]
        if there and there != list(range(there[0], there[0] + len(one.ids))):
            yield f"{one.stream}: of {one.ids} the log has {found}"


def absent(facts: Facts) -> Iterator[str]:
    """What was refused is not in the log, nor what nobody sent; an id was never taken for other content."""
    for key, version in facts.versions.items():
        ends = facts.ends.get(key)
        if ends is None:
            yield f"{key[0]}: nobody sent {key[1]}, and the log has it at {version}"
        elif not ends & {End.DONE, End.UNKNOWN}:
            yield f"{key[0]}: {key[1]} was refused, and the log has it at {version}"
    for one in facts.seen.forgeries:
        if one.done:
            yield f"{one.stream}: {one.event_id} was taken again with other content"


def real_time(facts: Facts) -> Iterator[str]:
    """What was sent after another was acknowledged stands after it."""
    for stream, entries in facts.log.items():
        for entry in entries:
            invoked = facts.invoked.get((stream, entry.event_id), NEVER)
            earlier = facts.at_least[stream].before(invoked)
            if earlier >= entry.version and invoked is not NEVER:
                yield f"{stream}: version {entry.version} was sent after {earlier} had been acknowledged"


def conflicts(facts: Facts) -> Iterator[str]:
    """A refused version was really another one, at some instant while the request was under way."""
    for one in facts.seen.appends:
        if one.end is not End.CONFLICT:
            continue
        low, high = _bounds(facts, one)
        if _met(one.expected, one.version):
            yield f"{one.stream}: refused though at {one.version} as expected ({one.expected})"
        elif not low <= one.version <= high:
            yield f"{one.stream}: refused as at version {one.version}, while it was at {low} to {high}"


def prefixes(facts: Facts) -> Iterator[str]:
    """Every read saw the beginning of the final log, and no less than its reader had written before."""
    wanted: dict[str, set[int]] = defaultdict(set)
    for read in facts.seen.reads:
        wanted[read.stream].add(read.length)
    digests = {stream: _digests(facts.log.get(stream, ()), lengths) for stream, lengths in wanted.items()}
    for read in facts.seen.reads:
        if digests[read.stream].get(read.length) != read.digest:
            yield f"{read.stream}: a read saw {read.length} events that are not the first ones of the log"
        elif read.length < read.least:
            yield f"{read.stream}: a read saw {read.length} events, its reader had written version {read.least}"


def _digests(entries: Sequence[Entry], lengths: set[int]) -> dict[int, bytes]:
    made, found = hashlib.blake2b(digest_size=8), {0: hashlib.blake2b(digest_size=8).digest()}
    for number, entry in enumerate(entries, start=1):
        made.update(entry.event_id.encode() + b"\n")
        if number in lengths:
            found[number] = made.copy().digest()
    return found


def strong_reads(facts: Facts) -> Iterator[str]:
    """A strong read saw all that was acknowledged before it, and nothing that was sent after it."""
    for read in facts.seen.reads:
        low, high = _bounds(facts, read)
        if read.kind is Kind.STRONG and not low <= read.length <= high:
            yield f"{read.stream}: a strong read saw version {read.length}, while it was at {low} to {high}"


def known_reads(facts: Facts) -> Iterator[str]:
    """A read as known at T saw what the final log has recorded by T: it is the same for ever."""
    for read in facts.seen.reads:
        if read.kind is Kind.KNOWN:
            by_then = sum(1 for e in facts.log.get(read.stream, ()) if e.recorded_us <= read.known_us)
            if by_then != read.length:
                yield f"{read.stream}: a read as known at {read.known_us} saw {read.length} events, not {by_then}"


def courses(facts: Facts) -> Iterator[str]:
    """Who follows a stream sees its versions, and who follows all of them each partition in its order: each event once, and
    none that the log does not have.
    """
    for number, course in enumerate(facts.seen.courses):
        name = f"reader {number} of {course.stream or 'all'}"
        lanes = (
            facts.lanes
            if course.stream is None
            else {0: [(course.stream, e) for e in facts.log.get(course.stream, ())]}
        )
        yield from (f"{name}: {complaint}" for complaint in _off_course(course, lanes))


def _off_course(course: Course, lanes: Lanes) -> Iterator[str]:
    places = {(stream, e.event_id): (lane, n) for lane, found in lanes.items() for n, (stream, e) in enumerate(found)}
    reached = dict.fromkeys(lanes, 0)
    for sight in course.sights:
        lane, place = places.get((sight.stream, sight.event_id), (0, -1))
        if place < 0:
            yield f"saw {sight}, which is not in its log"
            continue
        if place != reached[lane] or lanes[lane][place][1].version != sight.version:
            yield f"saw {sight}, number {place} of lane {lane}, when number {reached[lane]} was next"
        reached[lane] = max(reached[lane], place + 1)
    missing = sum(len(found) - reached[lane] for lane, found in lanes.items())
    if course.complete and missing:
        yield f"the last {missing} events never came"


def _bounds(facts: Facts, one: Append | Read) -> tuple[int, int]:
    """The lowest and the highest version that the stream can have had while an operation was under way."""
    return facts.at_least[one.stream].before(one.invoked), facts.at_most[one.stream].before(one.completed)


def _met(expected: Expected, version: int) -> bool:
    return {
        Expect.ANY: True,
        Expect.NONE: version == 0,
        Expect.EXISTS: version > 0,
        Expect.EXACT: version == expected.version,
    }[expected.kind]


def _short(found: list[int]) -> str:
    return str(found if len(found) <= 12 else [*found[:6], "...", *found[-5:]])


RULES: tuple[Rule, ...] = (
    versions,
    acknowledged,
    whole,
    absent,
    real_time,
    conflicts,
    prefixes,
    strong_reads,
    known_reads,
    courses,
)


def check(seen: Seen, log: Log) -> dict[str, list[str]]:
    """What each rule finds wrong; a rule that finds nothing has an empty list."""
    facts = Facts(seen, log)
    return {rule.__name__: list(rule(facts)) for rule in RULES}
