# SPDX-License-Identifier: Apache-2.0
"""What the names in the list stand for: the mesh, and what its app declares."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

from nerv.app import App
from nerv.app.reading import HISTORY
from nerv.topics import CHANGES, full

PLACES = ("projection", "rekeyed", "topic", "projected", "delta", "awaited", "side", "shared")


@dataclass(frozen=True, slots=True)
class Names:
    """The mesh, and all that a placeholder in the list stands for, one after the other."""

    mesh: str
    projection: tuple[str, ...] = ()
    rekeyed: tuple[str, ...] = ()
    topic: tuple[str, ...] = ()
    projected: tuple[str, ...] = ()
    delta: tuple[str, ...] = ()
    awaited: tuple[str, ...] = ()
    side: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()

    def expand(self, name: str) -> Iterator[str]:
        """A name of the list for each thing that it stands for: none where the app has none."""
        name = name.replace("{mesh}", self.mesh)
        used = [place for place in PLACES if f"{{{place}}}" in name]
        for values in product(*(getattr(self, place) for place in used)):
            found = name
            for place, value in zip(used, values, strict=True):
                found = found.replace(f"{{{place}}}", value)
            yield found


def names_of(mesh: str, app: App, *, sides: Iterable[str] = (), shared: Iterable[str] = ()) -> Names:
    """Those of an app. `sides` are topics that its syncs read and write; names of other topics that people publish to and read
    through the broker begin with one of `shared`."""
    read = {topic for spec in app.projections.values() for topic in spec.topics}
    reacted = {reaction.topic for reaction in app.reactions.values()}
    kinds = {kind for spec in app.workflow_versions.values() for kind in spec.awaits}
    awaited = {topic for kind in kinds if (topic := app.events[kind].topic) is not None}
    return Names(
        mesh,
        projection=tuple(sorted(app.projections)),
        rekeyed=tuple(sorted(name for name, spec in app.projections.items() if spec.rekeyed)),
        topic=tuple(sorted(app.all_topics())),
        projected=tuple(sorted(one for one in read if one != HISTORY and not one.startswith(CHANGES))),
        delta=tuple(sorted(full(mesh, topic) for topic in reacted if topic.startswith(CHANGES))),
        awaited=tuple(sorted(awaited)),
        side=tuple(sides),
        shared=tuple(shared),
    )
