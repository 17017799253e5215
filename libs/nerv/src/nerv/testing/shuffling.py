# SPDX-License-Identifier: Apache-2.0
"""Shows a fold that leans on more order than there is: order is promised for each stream, and not between streams."""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence

from nerv.app import App
from nerv.projections import Projection
from nerv.types import Event

SHUFFLES = 20


def interleavings(
    events: Sequence[Event[bytes]], shuffles: int = SHUFFLES, seed: int = 0
) -> Iterator[list[Event[bytes]]]:
    """The events in other orders, each stream's own kept; the same ones every time."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    for _ in range(shuffles):
        streams: dict[str, list[Event[bytes]]] = defaultdict(list)
        for event in events:
            streams[event.stream].append(event)
        turns = [name for name, found in streams.items() for _ in found]
        chance.shuffle(turns)
        yield [streams[name].pop(0) for name in turns]


def states(projection: Projection[object], events: Sequence[Event[bytes]]) -> dict[str, bytes]:
    """The state of each key, as it is written, after these events in this order."""
    found: dict[str, object] = {}
    for event in events:
        for key in projection.keys(event):
            found[key] = projection.function(found.get(key), projection.decode(event))
    return {key: projection.dump(state) for key, state in found.items()}


def assert_order_does_not_matter(
    app: App, projection: str, events: Sequence[Event[bytes]], *, shuffles: int = SHUFFLES, seed: int = 0
) -> None:
    """Fold the events in many orders, each stream's own kept. Raises AssertionError with a key whose state differs.

    `events` are of history: each has its stream for a subject.
    """
    folded: Projection[object] = Projection(app, app.projections[projection])
    wanted = states(folded, events)
    for number, order in enumerate(interleavings(events, shuffles, seed), 1):
        found = states(folded, order)
        for key in sorted(wanted.keys() | found.keys()):
            assert found.get(key) == wanted.get(key), (
                f"projection {projection} leans on the order between streams: {key!r} is {wanted.get(key)!r} as recorded, "
                f"and {found.get(key)!r} in order {number} of {shuffles}; make the fold take events of other streams in any order"
            )
