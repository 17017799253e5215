# SPDX-License-Identifier: Apache-2.0
"""What must hold of a topic that keeps what does not fit, once all that was sent is known to its senders. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

Place = tuple[int, int]  # partition, offset


class Told(NamedTuple):
    """What an answer said of an event: the place in the topic, or that of its letter."""

    event_id: str
    place: Place
    letter: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run as it ended. `events` and `letters` are where each id stands, letters in their first edition; `repaired` are the
    ids of letters that were edited so that they fit, and replayed; `left` counts letters that nobody has settled.
    """

    unfit: frozenset[str] = frozenset()
    told: Sequence[Told] = ()
    events: Mapping[str, Sequence[Place]] = field(default_factory=dict)
    letters: Mapping[str, Sequence[Place]] = field(default_factory=dict)
    repaired: frozenset[str] = frozenset()
    left: int = 0


def lost(found: Outcome) -> Iterator[str]:
    """What was acknowledged stands where it was said to stand."""
    for event_id, place, letter in found.told:
        if place not in (found.letters if letter else found.events).get(event_id, ()):
            yield f"{event_id} was acknowledged as {'letter' if letter else 'event'} {place}, and is not there"


def double(found: Outcome) -> Iterator[str]:
    """Nothing stands twice, and nothing in both places but what was repaired."""
    for name, standing in (("events", found.events), ("letters", found.letters)):
        for event_id, places in standing.items():
            if len(places) > 1:
                yield f"{event_id} is {len(places)} times among the {name}"
    for event_id in (found.events.keys() & found.letters.keys()) - found.repaired:
        yield f"{event_id} is an event, and a letter that nobody has repaired"


def misplaced(found: Outcome) -> Iterator[str]:
    """What fits is no letter; what does not is no event before it was repaired."""
    for event_id in found.letters.keys() - found.unfit:
        yield f"{event_id} fits, and is a letter"
    for event_id in (found.events.keys() & found.unfit) - found.repaired:
        yield f"{event_id} does not fit, and is an event"


def repaired(found: Outcome) -> Iterator[str]:
    """What was repaired is an event."""
    for event_id in found.repaired - found.events.keys():
        yield f"{event_id} was repaired and replayed, and is no event"


def left(found: Outcome) -> Iterator[str]:
    """Nothing waits for people any more."""
    if found.left:
        yield f"{found.left} letters"


Rule = Callable[[Outcome], Iterator[str]]
RULES: tuple[Rule, ...] = (lost, double, misplaced, repaired, left)


def check(found: Outcome) -> dict[str, list[str]]:
    """The violations by rule."""
    return {rule.__name__: list(rule(found)) for rule in RULES}


def seeded(found: Outcome) -> dict[str, Outcome]:
    """The same run as it would have ended with a bug in the broker, by the rule that must find it. Needs letters and events."""
    event_id, place = next(
        (one.event_id, one.place) for one in found.told if one.letter and one.event_id in found.unfit
    )
    fitting = next(one.event_id for one in found.told if not one.letter)
    mended = next(iter(found.repaired))
    return {
        "lost": replace(found, letters=_without(found.letters, event_id)),
        "double": replace(found, letters={**found.letters, event_id: [place, (place[0], place[1] + 1)]}),
        "misplaced": replace(found, letters={**found.letters, fitting: [(0, 0)]}),
        "repaired": replace(found, events=_without(found.events, mended)),
        "left": replace(found, left=1),
    }


def _without(standing: Mapping[str, Sequence[Place]], event_id: str) -> dict[str, Sequence[Place]]:
    return {one: places for one, places in standing.items() if one != event_id}
