# SPDX-License-Identifier: Apache-2.0
"""A small app for tests of the broker: orders with middleware, reactions and bridges. Run it by `NERV_APP=shop:app`.

SHOP_TOPICS is a prefix that makes the topics a test's own; SHOP_FOLDER is where tests and reactions meet.
"""

import os
import random
from pathlib import Path
from typing import ClassVar

import nerv
from nerv.aspects import Aspect, Call, Steps
from nerv.bus import middleware
from nerv.effects import Effect, effect_id
from nerv.effects.kinds import Append, Publish
from nerv.types import Event, frozen

PREFIX = os.environ.get("SHOP_TOPICS", "shop")
FOLDER = Path(os.environ.get("SHOP_FOLDER", "."))
FAILS = float(os.environ.get("SHOP_FAILS", "0"))  # how often a reaction fails for no reason

ORDERS, PLAIN, BIG = f"{PREFIX}.order.v1", f"{PREFIX}.plain.v1", f"{PREFIX}.big.v1"

app = nerv.App("shop")
app.topic(BIG)


@app.event("shop.ordered.v1", topic=ORDERS, key="customer")
class Ordered(nerv.Event):
    """Somebody wants something."""

    customer: str
    number: int = 0
    card: str = ""
    region: str = ""


@app.event("shop.confirmed.v1", topic=f"{PREFIX}.confirmed.v1", key="customer")
class Confirmed(nerv.Event):
    """They will get it."""

    customer: str
    number: int
    card: str = ""


@app.event("shop.noted.v1", topic=PLAIN, key="customer")
class Noted(nerv.Event):
    """Something about a customer."""

    customer: str
    number: int


@frozen
class Mail(Effect[None]):
    """A mail to a customer."""

    kind: ClassVar[str] = "shop.mail"
    customer: str
    number: int

    @property
    def target(self) -> str:
        """Who gets it."""
        return self.customer


@app.on("shop.ordered.v1")
def confirm(event: Ordered) -> list[Append | Publish | Mail]:
    """Into the customer's stream, and said to all. Customers called bad- have no luck while a file says so."""
    if FAILS and random.random() < FAILS:  # noqa: S311 - no secret
        raise RuntimeError("no reason")
    if event.number < 0:
        raise ValueError(f"{event.number} is no number")
    if event.customer.startswith("bad-") and not (FOLDER / "repaired").exists():
        raise LookupError(f"nobody knows {event.customer}")
    effects: list[Append | Publish | Mail] = [
        nerv.append(f"customer-{event.customer}", event),
        nerv.publish(Confirmed(customer=event.customer, number=event.number, card=event.card)),
    ]
    return [*effects, Mail(event.customer, event.number)] if event.customer.startswith("mailed-") else effects


@app.on("shop.ordered.v1", batch=100)
def tally(events: list[Ordered]) -> list[Append | None]:
    """Orders of customers called tally- are written down; a batch gives one answer for each event."""
    return [nerv.append(f"tally-{e.customer}", e) if e.customer.startswith("tally-") else None for e in events]


def send(mail: Mail) -> None:
    """A line in a file stands for a mail."""
    with (FOLDER / "mails").open("a") as out:
        out.write(f"{mail.customer} {mail.number} {effect_id()}\n")


class Counted(Aspect):
    """Notes each call by its name."""

    name = "counted"

    def around(self, call: Call) -> Steps:
        """Before the call, a line."""
        with (FOLDER / "calls").open("a") as out:
            out.write(f"{call.target.rpartition('.')[2]}\n")
        yield
        return None


def _to_big(event: Event[bytes]) -> str | None:
    return BIG if event.subject == "big" else None


def _fault(event: Event[bytes]) -> str | None:
    return "subject must not be odd" if event.subject == "odd" else None


app.handlers.on(Mail, send)
app.weave(Counted())
app.use(middleware.filter(lambda event: event.subject != "test", "no_tests"), topic=ORDERS)
app.use(middleware.validate(_fault, "not_odd"), topic=ORDERS)
app.use(middleware.enrich(lambda event: {"region": "eu"}, "region"), types="shop.ordered.*", topic=ORDERS)
app.use(middleware.redact("card"), topic=f"{PREFIX}.confirmed.v1")
app.use(middleware.route(_to_big, [BIG], "big"), topic=PLAIN)
app.use(middleware.redact("card"), topic=ORDERS, way="subscribe")
app.bridge("orders-out", f"topic:{ORDERS}", "stream:warehouse", types="shop.*")
app.bridge("orders-in", "stream:warehouse", f"topic:{PLAIN}")
app.bridge("orders-home", f"topic:{PLAIN}", f"topic:{ORDERS}")
app.bridge("heard", f"topic:{ORDERS}", "bus")
app.bridge("said", "bus", f"topic:{PREFIX}.said.v1", types="shop.said.*")
app.topic(f"{PREFIX}.said.v1")


@app.bus.on("shop.*ed.v1")
def say(event: Event[Ordered | Noted]) -> None:
    """What is heard on the bus is said on."""
    app.bus.send(Event(f"said-{event.id}", "shop", "shop.said.v1", event.time, {"customer": event.data.customer}))
