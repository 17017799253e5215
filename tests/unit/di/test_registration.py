# SPDX-License-Identifier: Apache-2.0
"""What a container is told: registrations, their graph, and every fault of it, found before anything starts."""

import json
import re
import sys
from collections.abc import Iterator, Sized
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Protocol

import pytest

from nerv.di import Container, Kind
from nerv.errors import Invalid, Misconfigured
from nerv.types import Health


class Settings:
    """What others are set by."""


class Database:
    """Needs the settings."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings


class Ledger:
    """Needs a database, and may have a size."""

    def __init__(self, database: Database, size: int = 3) -> None:
        self.database, self.size = database, size


class Hen:
    """Needs an egg."""

    def __init__(self, egg: "Egg") -> None:
        self.egg = egg


class Egg:
    """Needs a hen."""

    def __init__(self, hen: Hen) -> None:
        self.hen = hen


def bank() -> Container:
    """A container with a chain of three, and a task."""
    container = Container("bank")
    container.value(Settings, Settings())
    container.singleton(Ledger)
    container.singleton(Database, lazy=True)

    @container.task
    def report(ledger: Ledger) -> str:
        return str(ledger)

    return container


async def test_parameters_without_a_default_are_what_is_needed_in_any_order_of_registration() -> None:
    """By type: the ledger gets the database, which gets the settings."""
    async with bank() as container:
        ledger = await container.get(Ledger)
        assert ledger.database is await container.get(Database)
        assert ledger.database.settings is await container.get(Settings)
        assert ledger.size == 3


class Store(Protocol):
    """A port."""

    def load(self) -> str:
        """Something."""


class MemoryStore:
    """An adapter."""

    def load(self) -> str:
        """What it has."""
        return "remembered"


async def test_a_port_is_a_key_and_whatever_implements_it_answers() -> None:
    """Those that need the port do not know which strategy they were given; type checkers know what they get."""

    class Reader:
        def __init__(self, store: Store) -> None:
            self.store = store

    container = Container()
    container.singleton(Store, MemoryStore)
    container.singleton(Reader)
    async with container, container.scope() as scope:
        assert (await container.get(Store)).load() == (await scope.get(Store)).load() == "remembered"
        assert (await container.get(Reader)).store is await container.get(Store)


async def test_a_parameter_is_answered_by_its_name_where_nobody_has_its_type() -> None:
    """And `needs` says otherwise for some, defaults included."""
    container = Container()
    container.value("url", "kafka:9092")
    container.value("large", 9)
    container.value("provides", "everything")
    container.singleton("client", lambda url, provides: f"client of {url} for {provides}")
    container.value("database", Database(Settings()))
    container.singleton(Ledger, needs={"size": "large"})
    container.singleton("other", Ledger, needs={"database": "database", "size": "large"})
    async with container:
        assert await container.get("client") == "client of kafka:9092 for everything"
        assert (await container.get(Ledger)).size == 9
        assert await container.get("other") is not await container.get(Ledger)


async def test_registering_decorates_classes_and_functions() -> None:
    """They stay what they are."""
    container = Container()

    @container.singleton
    class Clock:
        """Ticks."""

    @container.task
    def tick(clock: Clock) -> str:
        return type(clock).__name__

    async with container:
        assert isinstance(await container.get(Clock), Clock)
    assert tick(Clock()) == "Clock"


def test_a_cycle_is_named_in_full() -> None:
    """From where it begins to where it comes back."""
    container = Container()
    container.singleton(Hen)
    container.singleton(Egg)
    with pytest.raises(Misconfigured, match="a cycle: Hen -> Egg -> Hen; break it"):
        container.graph()


async def test_a_missing_part_is_named_with_the_way_to_it_before_anything_starts() -> None:
    """And all faults are there for programs."""
    started = []
    container = Container()
    container.singleton("first", lambda: started.append("first"))
    container.singleton(Ledger)
    container.singleton(Database)
    container.singleton("second", lambda nobody: nobody)
    told = "Ledger -> Database needs Settings (parameter 'settings'), which nobody provides; register Settings, or a "
    with pytest.raises(Misconfigured, match=re.escape(told)) as refused:
        async with container:
            pass
    assert [error["detail"].partition(",")[0] for error in refused.value.errors] == [
        "Ledger -> Database needs Settings (parameter 'settings')",
        "second needs nobody (parameter 'nobody')",
    ]
    assert not started


@pytest.mark.parametrize("kind", ["singleton", "task"])
@pytest.mark.parametrize("between", [False, True])
def test_what_lives_long_does_not_hold_what_lives_in_a_scope(kind: str, between: bool) -> None:
    """Not by way of a factory either."""
    container = Container()
    container.value(Settings, Settings())
    container.scoped(Database)
    if between:
        container.factory(Ledger)
    needed = Ledger if between else Database
    if kind == "task":
        container.task(lambda needed: needed, name="holder", needs={"needed": needed})
    else:
        container.singleton("holder", lambda needed: needed, needs={"needed": needed})
    way = "holder -> Ledger: Ledger lives" if between else "holder -> Database: Database lives"
    with pytest.raises(Misconfigured, match=f"{way} as long as a scope, holder longer"):
        container.graph()


def test_only_tasks_need_tasks() -> None:
    """A component lives longer than any result."""
    container = Container()
    container.task(lambda: 1, name="total")
    container.singleton("report", lambda total: total)
    with pytest.raises(Misconfigured, match="report -> total: total is a task, and only tasks can need one"):
        container.graph()


def test_tasks_can_be_declared_in_any_order_and_their_cycles_are_found() -> None:
    """Like those of components, with which they are one graph."""
    container = Container()
    container.task(lambda total: total, name="report")
    container.task(lambda: 1, name="total")
    assert container.graph().nodes[0].needs == ("total",)
    container.task(lambda echo: echo, name="call")
    container.task(lambda call: call, name="echo")
    with pytest.raises(Misconfigured, match="a cycle: call -> echo -> call"):
        container.graph()


def test_what_cannot_be_registered_is_refused_with_what_to_do() -> None:
    """Names without makers, names twice, makers that make nothing, parameters that cannot be given by name."""
    container = bank()

    def generator() -> Iterator[int]:
        yield 1

    def positional(settings: Settings, /) -> None: ...

    for refused, told in (
        (lambda: container.singleton("db"), "say what does: make="),
        (lambda: container.singleton(Store), "Store is a port, .* say what implements it: make="),
        (lambda: container.scoped(Sized), "Sized is a port"),
        (lambda: container.singleton(Ledger), r"Ledger is registered twice; use override\(\)"),
        (lambda: container.value("Ledger", 1), "something else is registered as Ledger; tell them"),
        (lambda: container.factory("numbers", generator), r"register it with scoped\(\)"),
        (lambda: container.singleton("numbers", 3), r"register it with value\(\)"),  # type: ignore[arg-type]
        (lambda: container.singleton("positional", positional), "positional only"),
        (lambda: container.singleton("other", Ledger, needs={"ledger": "x"}), "no parameter ledger; it takes database"),
        (lambda: container.task(lambda: 1), "give the task one with name="),
        (lambda: container.task(partial(print)), "give the task one with name="),
    ):
        with pytest.raises(Misconfigured, match=told):
            refused()
    with pytest.raises(Invalid, match="component name"):
        container.value("a\nb", 1)


async def test_a_running_container_takes_no_registrations() -> None:
    """What it has was checked when it was entered."""
    async with bank() as container:
        with pytest.raises(Misconfigured, match="'bank' runs already; register x before it is entered"):
            container.value("x", 1)
        with pytest.raises(Misconfigured, match="override Ledger before it is entered"), container.override(Ledger, 1):
            pass
        with pytest.raises(Misconfigured, match="runs already; leave it before it is entered"):
            await container.__aenter__()


async def test_an_override_stands_for_a_component_which_is_not_made() -> None:
    """For tests; what only the component needs is not missed, and after the block all is as before."""
    container = bank()
    fake = object()
    with container.override(Ledger, fake) as overridden:
        async with overridden:
            assert await container.get(Ledger) is fake
            assert not container.running(Database)
    async with container:
        assert isinstance(await container.get(Ledger), Ledger)


async def test_what_nobody_provides_cannot_be_had() -> None:
    """The error says what there is, and what is to be done."""
    container = bank()
    with pytest.raises(Misconfigured, match="'bank' does not run; ask within its `async with`"):
        await container.get(Ledger)
    async with container:
        with pytest.raises(
            Misconfigured, match="nobody provides Hen; the container 'bank' has Settings, Ledger, Database, 'rep"
        ):
            await container.get(Hen)
        with pytest.raises(Misconfigured, match=r"report is a task; run `await container.tasks\(\)`"):
            await container.get("report")
        with pytest.raises(Misconfigured, match=r"nobody provides 'Ledger'; the container 'bank' has .* Ledger"):
            await container.get("Ledger")


async def test_two_types_of_one_name_are_told_apart() -> None:
    """Keys are the types themselves; people read another name."""
    other = type("Settings", (), {})
    container = bank()
    container.singleton(other, name="other settings")
    container.singleton("user", lambda settings: settings, needs={"settings": other})
    assert container.graph().nodes[-1].needs == ("other settings",)
    async with container:
        assert type(await container.get("user")) is other
        assert (await container.health())["other settings"] is Health.OK


def test_the_graph_is_printed_as_a_tree() -> None:
    """What nobody needs stands at the left; what is shared is drawn once."""
    container = bank()
    container.factory("audit", lambda ledger: ledger, needs={"ledger": Ledger})
    assert container.graph().text() == (
        "report (task)\n"
        "└── Ledger (singleton, created)\n"
        "    └── Database (singleton, lazy, created)\n"
        "        └── Settings (value)\n"
        "audit (factory)\n"
        "└── Ledger (see above)"
    )


def test_the_graph_is_printed_for_mermaid_and_as_json() -> None:
    """Arrows lead to what is needed."""
    graph = bank().graph()
    assert graph.mermaid() == (
        "graph TD\n"
        '    n0["Settings"]\n'
        '    n1["Ledger"]\n'
        '    n2["Database"]\n'
        '    n3(["report"])\n'
        "    n1 --> n2\n"
        "    n2 --> n0\n"
        "    n3 --> n1"
    )
    assert json.loads(graph.json())["nodes"][2] == {
        "name": "Database",
        "kind": "singleton",
        "needs": ["Settings"],
        "lazy": True,
        "state": "created",
    }
    assert [node.kind for node in graph.nodes] == [Kind.VALUE, Kind.SINGLETON, Kind.SINGLETON, Kind.TASK]


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package that is installed, with two entry points; the module's name."""
    (tmp_path / "nerv_plugin_of_a_test.py").write_text(
        "def good(container):\n    container.value('plugged', 1)\n\ndef bad(container):\n    return 1 / 0\n"
    )
    info = tmp_path / "nerv_plugin_of_a_test-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nerv-plugin-of-a-test\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[nerv.components]\ngood = nerv_plugin_of_a_test:good\n[nerv.broken]\nbad = nerv_plugin_of_a_test:bad\n"
        "[nerv.absent]\ngone = nerv_no_such_module:gone\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield import_module("nerv_plugin_of_a_test").__name__
    sys.modules.pop("nerv_plugin_of_a_test")


async def test_components_are_discovered_by_entry_points(plugin: str) -> None:
    """A function of any installed package registers what it has."""
    container = Container()
    assert container.discover() == ["good"]
    async with container:
        assert await container.get("plugged") == 1


@pytest.mark.parametrize(("group", "error"), [("nerv.broken", "ZeroDivisionError"), ("nerv.absent", "ModuleNotFound")])
def test_an_entry_point_that_does_not_load_is_named(plugin: str, group: str, error: str) -> None:
    """With the package that it comes from."""
    with pytest.raises(Misconfigured, match=f"of nerv-plugin-of-a-test does not load: {error}"):
        Container().discover(group)
