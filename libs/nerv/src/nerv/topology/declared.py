# SPDX-License-Identifier: Apache-2.0
"""The graph that an app declares, from its registry alone."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nerv import topics
from nerv.app import App, End
from nerv.app.reading import HISTORY
from nerv.topology.ways import Way, order

TYPES = 3  # that are named on a way; of more their number


def declared(app: App, mesh: str) -> list[Way]:
    """Every way that events are declared to go in a mesh of this name, along the flow."""
    parts = (_published, _reactions, _history, _projections, _deciders, _workflows, _bridges, _syncs)
    return sorted({way.ends: way for part in parts for way in part(app, mesh)}.values(), key=order)


def made(replicas: Iterable[Mapping[str, Any]]) -> list[Way]:
    """What was declared to a running mesh and not in its app: groups of subscribers, as the documents of brokers name them."""
    groups = [pair for one in replicas for pair in one.get("figures", {}).get("groups", {}).items()]
    return sorted({_way(f"topic:{topic}", f"group:{group}") for group, topic in groups}, key=order)


def _way(source: str, target: str, types: Iterable[str] = (), *, always: bool = False) -> Way:
    named = sorted(set(types))
    what = ", ".join(named) if len(named) <= TYPES else f"{len(named)} event types"
    return Way(source, target, what, declared=True, always=always)


def _topic(name: str, mesh: str) -> str:
    return f"topic:{topics.name(mesh, 'history.v1') if name == HISTORY else topics.full(mesh, name)}"


def _published(app: App, mesh: str) -> Iterator[Way]:
    carried = defaultdict(list)
    for spec in app.events.values():
        if spec.topic is not None:
            carried[spec.topic].append(spec.type)
    for topic, types in carried.items():
        yield _way("service:broker", f"topic:{topic}", types)


def _reactions(app: App, mesh: str) -> Iterator[Way]:
    for spec in app.reactions.values():
        yield _way(_topic(spec.topic, mesh), f"reaction:{spec.name}", [spec.event_type])


def _history(app: App, mesh: str) -> Iterator[Way]:
    yield _way("service:temporal", _topic(HISTORY, mesh))
    categories = {spec.category for spec in app.projections.values()} | set(app.deciders) | set(_categories(app))
    for category in sorted(filter(None, categories)):
        yield _way(f"category:{category}", "service:temporal", always=True)


def _categories(app: App) -> Iterator[str]:
    for spec in app.sources.values():
        if isinstance(category := getattr(spec.factory, "category", None), str):
            yield category


def _projections(app: App, mesh: str) -> Iterator[Way]:
    for spec in app.projections.values():
        for topic in spec.topics or (HISTORY,):
            yield _way(_topic(topic, mesh), f"projection:{spec.name}", app.folded(spec))
        yield _way(f"projection:{spec.name}", _topic(f"changes:{spec.name}", mesh))


def _deciders(app: App, mesh: str) -> Iterator[Way]:
    for spec in app.deciders.values():
        # Whoever decides does it in a process of its own, through the client.
        yield _way(f"decider:{spec.name}", f"category:{spec.name}", always=True)


def _workflows(app: App, mesh: str) -> Iterator[Way]:
    for spec in app.workflows.values():
        yield _way("service:scheduler", f"workflow:{spec.name}")
        for awaited in spec.awaits:
            event = app.events.get(awaited)
            if event is not None and event.topic is not None:
                yield _way(f"topic:{event.topic}", "service:scheduler", [awaited])
    for schedule in app.schedules.values():
        yield _way(f"schedule:{schedule.name}", f"workflow:{schedule.workflow}")


def _bridges(app: App, mesh: str) -> Iterator[Way]:
    for spec in app.bridges.values():
        yield _way(_end(app, spec.source), f"bridge:{spec.name}")
        yield _way(f"bridge:{spec.name}", _end(app, spec.target))


def _end(app: App, end: End) -> str:
    return f"bus:{app.name}" if end.kind == "bus" else str(end)


def _syncs(app: App, mesh: str) -> Iterator[Way]:
    for name in (*app.sources, *app.syncs):
        yield _way(*way_of(app, name))
    for name, sync in app.syncs.items():
        if sync.pair.events:
            yield _way(_topic(HISTORY, mesh), f"sync:{name}", sync.pair.events, always=True)


def way_of(app: App, name: str) -> tuple[str, str]:
    """Where a source or a sync of the app leads: a source to the streams that hold its rows, a sync between sides of its own."""
    source = app.sources.get(name)
    if source is None:
        return "service:sync", f"sync:{name}"
    category = getattr(source.factory, "category", None)
    return f"source:{name}", f"category:{category}" if isinstance(category, str) else "service:sync"
