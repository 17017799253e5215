# SPDX-License-Identifier: Apache-2.0
"""The graph of a mesh: declared, seen, and what differs."""

import re
from typing import Any

import pytest
from rich.console import Console

from nerv import App, Event
from nerv.cli.topology import way_tree
from nerv.effects import Effect
from nerv.sync import CsvSource
from nerv.telemetry.traffic import MOST, Traffic
from nerv.topology import Difference, Way, compare, declared, made, merged, mermaid

TOPIC = "shop.orders.v1"


@pytest.fixture
def app() -> App:
    """One with a way of each kind."""
    app = App("shop")

    @app.event("order.placed.v1", topic=TOPIC, key="id")
    class Placed(Event):
        id: str

    @app.event("payment.made.v1", topic=TOPIC, key="id")
    class Paid(Event):
        id: str

    @app.on("order.placed.v1")
    def record(event: Placed) -> Effect[Any] | None:
        return None

    @app.projection("orders", on=["order.placed.v1"], category="order", state=dict[str, int])
    def orders(state: dict[str, int] | None, event: Placed) -> dict[str, int]:
        return {}

    @app.projection("totals", on=["order.placed.v1"], topics=[TOPIC], state=dict[str, int])
    def totals(state: dict[str, int] | None, event: Placed) -> dict[str, int]:
        return {}

    @app.workflow("deliver", awaits={"payment.made.v1": "id"})
    def deliver(w: Any) -> None: ...

    app.schedule("nightly", "deliver", cron="0 3 * * *")
    app.bridge("alerts", source=f"topic:{TOPIC}", target="stream:alerts")

    @app.source("customers")
    class Customers(CsvSource):
        category = "customer"

    return app


def test_everything_that_an_app_declares_is_a_way(app: App) -> None:
    """Topics, reactions, projections and their deltas, workflows and what they await, schedules, bridges, sources, streams."""
    ways = declared(app, "m")
    assert {way.ends: way.what for way in ways} == {
        ("source:customers", "category:customer"): "",
        ("schedule:nightly", "workflow:deliver"): "",
        ("service:broker", f"topic:{TOPIC}"): "order.placed.v1, payment.made.v1",
        ("service:scheduler", "workflow:deliver"): "",
        ("service:temporal", "topic:m.history.v1"): "",
        ("bridge:alerts", "stream:alerts"): "",
        (f"topic:{TOPIC}", "projection:totals"): "order.placed.v1",
        ("topic:m.history.v1", "projection:orders"): "order.placed.v1",
        (f"topic:{TOPIC}", "service:scheduler"): "payment.made.v1",
        (f"topic:{TOPIC}", "bridge:alerts"): "",
        (f"topic:{TOPIC}", "reaction:record"): "order.placed.v1",
        ("category:customer", "service:temporal"): "",
        ("category:order", "service:temporal"): "",
        ("projection:orders", "topic:m.changes.orders.v1"): "",
        ("projection:totals", "topic:m.changes.totals.v1"): "",
    }
    assert all(way.declared for way in ways)


def seen(source: str, target: str, count: int = 1, last: float = 100.0) -> dict[str, Any]:
    """As a replica tells it."""
    return {"from": source, "to": target, "count": count, "rate": count / 2, "last": last}


def test_what_replicas_saw_is_put_together() -> None:
    """Counts and rates are summed, the latest counts; a replica that saw nothing says nothing."""
    ways = merged([{"traffic": [seen("a:1", "b:2", 4, 90.0)]}, {"traffic": [seen("a:1", "b:2", 6)]}, {"traffic": []}])
    assert ways == [Way("a:1", "b:2", count=10, rate=5.0, last=100.0)]


def test_a_group_is_declared_by_whoever_makes_it() -> None:
    """Every broker names those that it hosts; each is one way, whether anything has come yet or not."""
    replicas = [{"figures": {"groups": {"billing": "t", "mail": "t"}}}, {"figures": {"groups": {"billing": "t"}}}, {}]
    ways = compare(made(replicas), [Way("topic:t", "group:billing", count=3)])
    differs = {way.ends: way.differs for way in ways}
    assert differs == {("topic:t", "group:billing"): None, ("topic:t", "group:mail"): Difference.UNSEEN}


def test_what_differs_is_told() -> None:
    """Never seen; seen and not declared. What reactions do is chosen by code, and what is always so is not counted."""
    known = [
        Way("service:broker", "topic:t", declared=True),
        Way("topic:t", "reaction:r", "x.v1", declared=True),
        Way("category:s", "service:temporal", declared=True, always=True),
    ]
    found = [
        Way(*ends, count=3)
        for ends in (("topic:t", "reaction:r"), ("reaction:r", "category:s"), ("topic:u", "group:g"))
    ]
    differs = {way.ends: (way.differs, way.count, way.what) for way in compare(known, found)}
    assert differs == {
        ("service:broker", "topic:t"): (Difference.UNSEEN, 0, ""),
        ("topic:t", "reaction:r"): (None, 3, "x.v1"),
        ("topic:u", "group:g"): (Difference.UNDECLARED, 3, ""),
        ("reaction:r", "category:s"): (None, 3, ""),
        ("category:s", "service:temporal"): (None, 0, ""),
    }


def test_a_way_goes_through_json() -> None:
    """And comes back the same."""
    way = Way("topic:t", "group:g", "x", declared=True, count=3, rate=1.5, last=2.0, differs=Difference.UNSEEN)
    assert Way.from_dict(way.to_dict()) == way


def test_mermaid_names_every_end_once_and_every_way(app: App) -> None:
    """Each identifier is declared with its shape and name; differences have arrows of their own."""
    text = mermaid(compare(declared(app, "m"), [Way('topic:x"y', "group:g", count=1234)]))
    first, *lines = text.splitlines()
    assert first == "flowchart LR"
    nodes = [line for line in lines if not re.search(r"-->|-\.->|==>", line)]
    ids = [re.match(r"  (\w+)[\[({]", line)[1] for line in nodes]  # type: ignore[index]
    assert len(ids) == len(set(ids))
    ways = [re.fullmatch(r'  (\w+) (-->|-\.->|==>)(\|"[^"|]*"\|)? (\w+)', line) for line in lines if line not in nodes]
    assert all(ways)
    assert {end for way in ways if way for end in (way[1], way[4])} == set(ids)
    assert '  topic_x_y ==>|"1,234"| group_g' in lines
    assert '  topic_x_y[("topic<br/>x#quot;y")]' in lines
    assert text == mermaid(compare(declared(app, "m"), [Way('topic:x"y', "group:g", count=1234)]))


def printed(ways: list[Way], width: int = 80, *, counted: bool = True) -> str:
    """The tree as it is printed."""
    console = Console(width=width, force_terminal=False)
    with console.capture() as captured:
        console.print(way_tree("mesh m", ways, counted=counted))
    return captured.get()


def test_the_tree_says_how_much_went_where(app: App) -> None:
    """With names that look like markup as they are; an app without anything says so."""
    text = printed(compare(declared(app, "m"), [Way("topic:a[b]", "group:g", count=1234, rate=20.0, last=1.0)]))
    assert "topic a[b]" in text
    assert "→ group g  not declared, 1,234 events, 20/s" in text
    assert "→ reaction record  order.placed.v1  never seen" in text
    assert "never" not in printed(declared(app, "m"), counted=False)
    assert "nothing" in printed([])


def test_traffic_is_counted_once_a_batch_and_looked_at_later() -> None:
    """A count, a rate since the last look, and when it last grew; what would be too many ends is not told apart."""
    traffic = Traffic()
    traffic.saw("topic:a", "group:b", 3)
    traffic.saw("topic:a", "group:b", 4)
    traffic.saw("topic:a", "group:c", 0)
    [way] = traffic.look()
    assert (way["from"], way["to"], way["count"]) == ("topic:a", "group:b", 7)
    assert way["rate"] > 0
    [again] = traffic.look()
    assert (again["count"], again["rate"], again["last"]) == (7, 0.0, way["last"])
    for number in range(MOST + 10):
        traffic.saw("topic:a", f"group:{number}", 1)
    assert len(traffic.look()) == MOST
    traffic.saw("topic:a", "group:b", 1)
    assert traffic.look()[0]["count"] == 8
