# SPDX-License-Identifier: Apache-2.0
"""Every component describes itself as data, and every public name says what it is."""

import dataclasses
import enum
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

import pytest
from pydantic import BaseModel

import nerv
from nerv.effects import DryRun, EffectMonad, Recording
from nerv.types import Description

# Generated; programs of the command line and of `nerv dev`, which are no library; what tests are made of.
APART = ("nerv.api.", "nerv.cli.", "nerv.dev.", "nerv.testing.", "nerv.starter.template.")

# Classes that are no components, and why.
NO_COMPONENTS = {
    "nerv.cloudevents.incoming.Incoming": "is one event",
    "nerv.clock.SystemClock": "holds nothing",
    "nerv.clock.HybridClock": "holds one stamp, which every object that it has stamped shows",
    "nerv.di.scope.Scope": "lives for one request",
    "nerv.effects.codec.EffectCodec": "translates, holds nothing",
    "nerv.workflows.drawing.Branch": "lives for one call of a workflow's function",
    "nerv.workflows.drawing.Drawing": "lives for one call of a workflow's function",
    "nerv.kafka.hearing.Lines": "what log lines pass, which tell how many did not",
    "nerv.kafka.permitting.Permitting": "a hold on Kafka's admin client, without anything of its own",
    "nerv.redis.connection.FileCredentials": "holds nothing: what redis-py asks for each connection",
    "nerv.sync.pair.Pair": "declares what `nerv describe` shows",
    "nerv.telemetry.scraping.Scrape": "a hold on OpenTelemetry's reader, without anything of its own",
    "nerv.kafka.admin.Admin": "a hold on Kafka's admin client, without anything of its own",
}
# An API of Client, which describes what they share.
APIS = """
    deadletters.DeadLetters projections.Projections schedules.Schedules schemas.Schemas streams.Streams
    subscriptions.Subscriptions syncs.Syncs topics.Topics traces.Traces views.Views workflows.Workflows
"""
# Inside a component, which describes it.
INSIDE = """
    nerv.aspects.joinpoint.JoinPoint nerv.aspects.joinpoint.Woven
    nerv.bus.crossing.Crossing nerv.bus.lanes.Lane nerv.bus.lanes.LaneSet nerv.bus.routes.Routes
    nerv.di.injecting.Injected nerv.di.injecting.Injection nerv.di.life.Life nerv.di.registry.Registry
    nerv.di.tasks.Starting nerv.di.wiring.Wiring
    nerv.client.positions.Positions nerv.history.snapshots.Replay
    nerv.kafka.owning.waiting.Queue
    nerv.kafka.lagging.Ages nerv.kafka.lagging.Behind nerv.kafka.measuring.Transactions
    nerv.partition.bell.Bell nerv.partition.calling.HereHands nerv.partition.conduct.Conductor
    nerv.partition.crew.ThreadCrew nerv.partition.processes.Child nerv.partition.processes.Children
    nerv.partition.processes.ProcessHands nerv.partition.schedule.Schedule nerv.partition.tasks.TaskCrew
    nerv.partition.tuning.Kind nerv.partition.worker.Worker
    nerv.perspectives.markers.Once nerv.perspectives.plan.Plan nerv.perspectives.reading.Reading
    nerv.service.auth.files.Watched nerv.service.auth.keys.FileKeys nerv.service.auth.keys.UrlKeys
    nerv.subscriptions.ledger.Ledger
    nerv.sync.applying.Attempt
    nerv.sync.adapters.Compared nerv.sync.adapters.SideAdapter nerv.sync.current.CurrentState
    nerv.sync.planning.Planner nerv.sync.schema.Digester nerv.sync.tally.Tally
    nerv.telemetry.batches.Budget nerv.telemetry.spans.recent.Recent nerv.telemetry.spans.store.SpanStore
    nerv.telemetry.spans.quick.QuickSpan nerv.telemetry.spans.quick.QuickSpans
    nerv.telemetry.distributions.Completing nerv.telemetry.distributions.Histogram nerv.telemetry.distributions.Series
    nerv.sync.sides.http.asking.Pace nerv.sync.sides.sql.feed.TriggerFeed nerv.sync.sides.sql.statements.Statements
"""
LISTED = {*NO_COMPONENTS, *INSIDE.split(), *(f"nerv.client.{name}" for name in APIS.split())}


def modules() -> list[ModuleType]:
    """Every module of the library that people import."""
    names = (info.name for info in pkgutil.walk_packages(nerv.__path__, "nerv."))
    return [importlib.import_module(name) for name in names if not f"{name}.".startswith(APART)]


def public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The classes and functions that a module defines, under their full names."""
    for name, value in vars(module).items():
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__:
            yield f"{module.__name__}.{name}", value


def is_data(cls: type[Any]) -> bool:
    """Values, errors, enumerations, models and protocols: they are descriptions themselves, or have no body."""
    plain = (BaseException, enum.Enum, BaseModel, tuple)
    return issubclass(cls, plain) or dataclasses.is_dataclass(cls) or bool(getattr(cls, "_is_protocol", False))


COMPONENTS = [
    pytest.param(cls, id=name)
    for module in modules()
    for name, cls in public(module)
    if isinstance(cls, type) and not is_data(cls) and name not in LISTED
]


@pytest.mark.parametrize("cls", COMPONENTS)
def test_a_component_describes_itself(cls: type[Any]) -> None:
    """By `describe()`, which answers a Description and takes nothing. What is no component is listed above, with the reason."""
    describe = getattr(cls, "describe", None)
    assert describe is not None, f"{cls.__qualname__} needs describe(), or a line above"
    signature = inspect.signature(describe)
    assert list(signature.parameters) == ["self"]
    assert signature.return_annotation in (Description, "Description")


def test_executions_describe_themselves_too() -> None:
    """They are data, and components as well."""
    for execution in (Recording(), DryRun()):
        assert execution.describe().counters == {"recorded": 0}


def test_what_is_listed_as_no_component_is_there() -> None:
    """A name that is gone, or that has come to describe itself, leaves the list."""
    found = {name: value for module in modules() for name, value in public(module)}
    for name in LISTED:
        assert name in found, name
        assert not hasattr(found[name], "describe"), name


def undocumented(value: Any, name: str) -> Iterator[str]:
    """The name itself, and the methods and properties of a class, that have no docstring of their own."""
    if not (value.__doc__ or "").strip():
        yield name
    if not isinstance(value, type):
        return
    for member, found in vars(value).items():
        function = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
        if member.startswith("_") or not isinstance(function, FunctionType) or member != function.__name__:
            continue  # not a method: a field whose default is a function
        if not (function.__doc__ or "").strip() and not hasattr(function, "__overload__"):
            yield f"{name}.{member}"


def test_every_public_name_has_a_docstring() -> None:
    """Modules, classes, functions, methods and properties of the library, its tests' suites and commands included."""
    names = (info.name for info in pkgutil.walk_packages(nerv.__path__, "nerv."))
    everything = [
        importlib.import_module(name)
        for name in names
        if not f"{name}.".startswith(("nerv.api.", "nerv.starter.template."))
    ]
    missing = [module.__name__ for module in everything if not (module.__doc__ or "").strip()]
    missing += [
        found
        for module in everything
        for name, value in public(module)
        if isinstance(value, type | FunctionType)
        for found in undocumented(value, name)
    ]
    assert missing == []


def test_a_program_says_what_can_be_seen_of_it() -> None:
    """However long its chain is: effects up to the first function that makes more."""
    from nerv.effects import log, pure, sequence

    program: EffectMonad[Any] = sequence([log("one"), log("two")]).map(len)
    for _ in range(100_000):
        program = program.map(lambda n: n)
    told = program.then(pure(None)).describe()
    assert told.outputs == ("log",)
    assert told.counters["log"] == 2
    assert told.counters["nodes"] >= 100_000
