# SPDX-License-Identifier: Apache-2.0
"""What a projection reads, and what its views are found by: checked where it is declared."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from nerv.app.specs import Index, ProjectionSpec
from nerv.errors import Misconfigured
from nerv.topics import CHANGES
from nerv.types import check_id

HISTORY: Final = "history"
INDEXES = 16  # of one projection: each view is written with all its entries


def check_topics(projection: str, topics: Sequence[str], *, keyed: bool, category: str | None) -> None:
    """Refuse topics that could not be folded as they are declared. Raises Misconfigured."""
    if isinstance(topics, str):
        raise Misconfigured(f"projection {projection}: topics is a list of names, not the text {topics!r}")
    if len(set(topics)) < len(topics):
        raise Misconfigured(f"projection {projection} names a topic twice")
    if tuple(topics) == (HISTORY,):
        raise Misconfigured(f"projection {projection} folds history, as all do that name no topics; leave topics out")
    if topics and category is not None:
        raise Misconfigured(f"projection {projection}: a category is of history; with topics leave it out")
    if HISTORY in topics and not keyed:
        raise Misconfigured(
            f"projection {projection} folds history and topics, whose records have keys of different kinds; say which: key=..."
        )


def check_circles(projections: Mapping[str, ProjectionSpec]) -> None:
    """Refuse projections that fold changes of none, or their own by however many steps. Raises Misconfigured."""
    for name in projections:
        behind, seen = [name], {name}
        while behind:
            for source in _changes(projections[behind.pop()]):
                if source not in projections:
                    raise Misconfigured(f"projection {name} folds {CHANGES}{source}, which is no projection of the app")
                if source == name:
                    raise Misconfigured(
                        f"projection {name} folds its own changes, by {CHANGES}{source}; break the circle"
                    )
                if source not in seen:
                    seen.add(source)
                    behind.append(source)


def check_changes(reaction: str, topic: str, projections: Collection[str]) -> None:
    """Refuse a reaction to changes of no projection of the app. Raises Misconfigured."""
    source = topic.removeprefix(CHANGES)
    if source != topic and source not in projections:
        known = ", ".join(projections) or "none"
        raise Misconfigured(f"reaction {reaction} is to {topic}, but the projections of the app are: {known}")


def _changes(spec: ProjectionSpec) -> list[str]:
    return [topic.removeprefix(CHANGES) for topic in spec.topics if topic.startswith(CHANGES)]


def indexes_of(declared: Mapping[str, type | Index]) -> dict[str, Index]:
    """The indexes by name; a type alone stands for the field of that name. Raises Misconfigured."""
    if len(declared) > INDEXES:
        raise Misconfigured(f"{len(declared)} indexes are declared for one projection; the limit is {INDEXES}")
    return {
        check_id(name, "index"): spec if isinstance(spec, Index) else Index(name, spec)
        for name, spec in declared.items()
    }
