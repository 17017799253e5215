# SPDX-License-Identifier: Apache-2.0
"""An app's whole picture as plain data, from its registry alone: nothing is started, and nothing outside is asked."""

import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from nerv.app.declare import App
from nerv.app.sampling import drawn, parameters, words_of
from nerv.app.specs import (
    BridgeSpec,
    DeciderSpec,
    EventSpec,
    MiddlewareSpec,
    PerspectiveSpec,
    ProjectionSpec,
    ReactionSpec,
    ScheduleSpec,
    SourceSpec,
    SyncSpec,
    TaskSpec,
    WorkflowSpec,
)
from nerv.bus import Selector
from nerv.types import Description


def picture(app: App) -> dict[str, Any]:
    """All that an app declares, kind by kind, each with its name, what it stands on, and the first line of its docstring."""
    return {
        "app": app.name,
        "events": [_event(app, spec) for spec in app.events.values()],
        "upcasters": [{"name": spec.source, "to": spec.target} for spec in app.upcasters.values()],
        "topics": [{"name": spec.name, "partitions": spec.partitions} for spec in app.all_topics().values()],
        "middleware": [_middleware(spec) for spec in app.middleware],
        "bridges": [_bridge(spec) for spec in app.bridges.values()],
        "reactions": [_reaction(spec) for spec in app.reactions.values()],
        "deciders": [_decider(spec) for spec in app.deciders.values()],
        "projections": [_projection(app, spec) for spec in app.projections.values()],
        "tasks": [_task(spec) for spec in app.tasks.values()],
        "workflows": [_workflow(app, spec) for spec in app.workflows.values()],
        "schedules": [_schedule(spec) for spec in app.schedules.values()],
        "sources": [_source(spec) for spec in app.sources.values()],
        "syncs": [_sync(spec) for spec in app.syncs.values()],
        "components": [component.to_dict() for component in components(app)],
    }


def components(app: App) -> list[Description]:
    """The app's container, and what the modules of its package hold that describes itself: a bus, handlers, deciders."""
    held = [value for module in _modules_of(app) for value in list(vars(module).values())]
    if app.has_container:
        held.append(app.container)
    found = {id(value): value for value in held if value is not app and _describes_itself(value)}
    return [value.describe() for value in found.values()]


def _describes_itself(value: Any) -> bool:
    """By what its method says that it answers: others, such as a table of pandas, have a `describe` of another kind."""
    told = getattr(getattr(value, "describe", None), "__annotations__", {}).get("return")
    return not isinstance(value, type) and told in (Description, "Description")


def _modules_of(app: App) -> list[ModuleType]:
    """The modules, imported by now, of every package that holds the app under some name."""
    holding = [name for name, module in list(sys.modules.items()) if _holds(module, app)]
    packages = {name.partition(".")[0] for name in holding} - {"nerv"}
    return [module for name, module in sorted(sys.modules.items()) if name.partition(".")[0] in packages]


def _holds(module: Any, app: App) -> bool:
    return isinstance(module, ModuleType) and any(value is app for value in list(vars(module).values()))


def _event(app: App, spec: EventSpec) -> dict[str, Any]:
    fields = {name: words_of(field.annotation) for name, field in spec.model.model_fields.items()}
    return {
        "name": spec.type,
        "model": spec.model.__name__,
        "fields": fields,
        "topic": spec.topic,
        "key": spec.key,
        "reactions": [r.name for r in app.reactions.values() if r.event_type == spec.type],
        "projections": [p.name for p in app.projections.values() if spec.type in app.folded(p)],
        "doc": _doc(spec.model),
    }


def _middleware(spec: MiddlewareSpec) -> dict[str, Any]:
    types = _selector(spec.types)
    return {"name": spec.step.name, "topic": spec.topic, "types": types, "way": spec.way.value, "to": spec.step.routes}


def _bridge(spec: BridgeSpec) -> dict[str, Any]:
    return {"name": spec.name, "from": str(spec.source), "to": str(spec.target), "types": _selector(spec.types)}


def _selector(types: Selector | None) -> str | None:
    return types if types is None or isinstance(types, str) else f"{getattr(types, '__name__', 'function')}()"


def _reaction(spec: ReactionSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "on": spec.event_type,
        "topic": spec.topic,
        "batch": spec.batch,
        "doc": _doc(spec.function),
    }


def _decider(spec: DeciderSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "streams": f"{spec.name}-*",
        "projection": spec.projection,
        "doc": _doc(spec.function),
    }


def _projection(app: App, spec: ProjectionSpec) -> dict[str, Any]:
    seen = [p for (owner, _), p in app.perspectives.items() if owner == spec.name]
    return {
        "name": spec.name,
        "folds": list(app.folded(spec)),
        "streams": None if spec.category is None else f"{spec.category}-*",
        "topics": list(spec.topics),
        "key": _key(spec.key),
        "state": words_of(spec.state),
        "indexes": list(spec.indexes),
        "perspectives": [_perspective(p) for p in seen],
        "doc": _doc(spec.function),
    }


def _perspective(spec: PerspectiveSpec) -> dict[str, Any]:
    model = spec.model
    scopes = sorted(model.scopes())
    return {
        "name": spec.name,
        "fields": list(model.shown()),
        "scope": spec.scope,
        "scopes": scopes,
        "doc": _doc(model),
    }


def _task(spec: TaskSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "parameters": parameters(spec.function),
        "retries": spec.retries,
        "timeout_seconds": spec.timeout,
        "doc": _doc(spec.function),
    }


def _workflow(app: App, spec: WorkflowSpec) -> dict[str, Any]:
    found = drawn(spec, app.tasks)
    versions = sorted(version for name, version in app.workflow_versions if name == spec.name)
    more = {"versions": versions, "awaits": dict(spec.awaits), "deadline_seconds": spec.deadline}
    return {
        "name": spec.name,
        "parameters": parameters(spec.function, skip=1),
        **found,
        **more,
        "doc": _doc(spec.function),
    }


def _schedule(spec: ScheduleSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "workflow": spec.workflow,
        "ticks": str(spec.ticks),
        "overlap": spec.overlap.value,
        "catch_up": spec.catch_up,
    }


def _source(spec: SourceSpec) -> dict[str, Any]:
    category = getattr(spec.factory, "category", None)
    streams = f"{category}-*" if isinstance(category, str) else None  # else only one that is made could tell
    return {"name": spec.name, "class": spec.factory.__name__, "streams": streams, "doc": _doc(spec.factory)}


def _sync(spec: SyncSpec) -> dict[str, Any]:
    pair = spec.pair
    perspective = None if pair.perspective is None else pair.perspective.__name__
    found = {"name": spec.name, "class": pair.__name__, "direction": pair.direction.value, "perspective": perspective}
    return {**found, "strategy": pair.strategy.name, "schedule": pair.schedule, "under": pair.under, "doc": _doc(pair)}


def _key(rule: Any) -> Any:
    """A key rule as people read it: a field, a field for each type, or the function's name; None is the stream's entity."""
    if rule is None or isinstance(rule, str):
        return rule
    return dict(rule) if isinstance(rule, Mapping) else f"{getattr(rule, '__name__', 'function')}()"


def _doc(thing: Any) -> str | None:
    """The first line of its own docstring, not of a base class."""
    text = vars(thing).get("__doc__") if isinstance(thing, type) else getattr(thing, "__doc__", None)
    return text.strip().splitlines()[0] if text and text.strip() else None
