# SPDX-License-Identifier: Apache-2.0
"""The checker of a topic: what was acknowledged, what the final log holds, what subscribers got. In the manner of Jepsen's
workload for Kafka. Pure.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise

from tests.faults.broker.publishing.operations import End, Log, Place, Seen

Rule = Callable[["Facts"], Iterator[str]]


class Facts:
    """A run in the form in which the rules ask for it."""

    def __init__(self, seen: Seen, log: Log) -> None:
        self.seen, self.log = seen, log
        self.at: dict[Place, str] = {entry.place: entry.event_id for entry in log}
        self.times = Counter(entry.event_id for entry in log)
        self.ends: dict[str, set[End]] = defaultdict(set)
        self.places: dict[str, set[Place]] = defaultdict(set)
        for one in seen.sent:
            self.ends[one.event_id].add(one.end)
            if one.place is not None:
                self.places[one.event_id].add(one.place)


def lost_write(facts: Facts) -> Iterator[str]:
    """What was acknowledged stands in the log, at the place that was told."""
    for event_id, places in facts.places.items():
        for place in places:
            if facts.at.get(place) != event_id:
                yield f"{event_id} was acknowledged at {place}; the log has {facts.at.get(place)} there"


def duplicate(facts: Facts) -> Iterator[str]:
    """No event is in the log twice, and all answers about one name the same place."""
    for event_id, times in facts.times.items():
        if times > 1:
            yield f"{event_id} is in the log {times} times"
    for event_id, places in facts.places.items():
        if len(places) > 1:
            yield f"{event_id} was told to be at {sorted(places)}"


def aborted_read(facts: Facts) -> Iterator[str]:
    """What is in the log, or was got by a subscriber, was sent, and not only refused; a subscriber got what the log has."""
    for event_id in facts.times:
        ends = facts.ends.get(event_id)
        if ends is None:
            yield f"nobody sent {event_id}, and the log has it"
        elif not ends & {End.DONE, End.UNKNOWN}:
            yield f"{event_id} was refused, and the log has it"
    for course in facts.seen.courses:
        for poll in course.polls:
            if facts.at.get(poll.place) != poll.event_id:
                yield f"{course.name} got {poll.event_id} at {poll.place}; the log has {facts.at.get(poll.place)} there"


def forged(facts: Facts) -> Iterator[str]:
    """An id is never taken for other content."""
    for one in facts.seen.forgeries:
        if one.done:
            yield f"{one.event_id} was taken again with other content"


def non_monotonic(facts: Facts) -> Iterator[str]:
    """A subscriber gets each partition in order, each event once; the log has the events of a key as they were sent."""
    for course in facts.seen.courses:
        last: dict[int, int] = {}
        for (partition, offset), event_id in course.polls:
            if offset <= last.get(partition, -1):
                yield f"{course.name} got {event_id} at {partition}:{offset} after {last[partition]}"
            last[partition] = max(offset, last.get(partition, -1))
    numbers: dict[str, list[int]] = defaultdict(list)
    for entry in facts.log:
        numbers[entry.key].append(entry.number)
    for key, found in numbers.items():
        wrong = [(early, late) for early, late in pairwise(found) if late < early]
        if wrong:
            yield f"{key}: the log has event {wrong[0][1]} after {wrong[0][0]}, and {len(wrong) - 1} more such"


def unseen(facts: Facts) -> Iterator[str]:
    """Every subscriber got all that the log has."""
    for course in facts.seen.courses:
        got = {poll.place for poll in course.polls}
        missing = [place for place in facts.at if place not in got]
        if missing:
            yield f"{course.name} missed {len(missing)} events, the first at {min(missing)}"


RULES: tuple[Rule, ...] = (lost_write, duplicate, aborted_read, forged, non_monotonic, unseen)


def check(seen: Seen, log: Log) -> dict[str, list[str]]:
    """What each rule finds wrong; a rule that finds nothing has an empty list."""
    facts = Facts(seen, log)
    return {rule.__name__: list(rule(facts)) for rule in RULES}
