# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/cheatsheet.md: one program, cut at the lines that begin with `#:` and name what the example is of.

A test runs it from top to bottom, and the type checker reads it, so that what the sheet shows is so.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

import nerv
from nerv import errors, types
from nerv.aspects import Aspect, AspectWeaver, Call, Guarded, Logged, Measured, Secured, Steps, Traced, acting
from nerv.bus import EventBus, Lanes, middleware
from nerv.deciders.decider import Decider
from nerv.di import Container, Inject
from nerv.effects import (
    Cache,
    DryRun,
    Effect,
    EffectMonad,
    Handlers,
    Recording,
    Replay,
    RetryPolicy,
    ask,
    parallel_all,
    pure,
    race,
    sequence,
    using,
)
from nerv.effects.kinds import Append
from nerv.history import JsonFold
from nerv.history.store import TemporalStore
from nerv.partition import Partition, QuantumPartitioner, Unit
from nerv.perspectives import (
    Identifier,
    Ignored,
    Lazy,
    Perspective,
    PerspectiveAware,
    Redacted,
    Source,
    Tolerance,
    computed,
)
from nerv.projections import StateProjector
from nerv.protocols import AppendRequest, Expected, ReadQuery
from nerv.schemas import Compatibility, Format, incompatible, schema_of
from nerv.state import ProjectionCache, between, changed, freeze, get, put, thaw, update
from nerv.sync import CsvSource, Direction
from nerv.sync.sides import MappingSide
from nerv.sync.synchronizer import DiffSynchronizer
from nerv.testing.deciders import given
from nerv.types import (
    EffectType,
    EntityId,
    EventId,
    EventType,
    Health,
    LifecycleState,
    Principal,
    Resource,
    ResourceId,
    Stamp,
    VersionedState,
    VersionId,
    frozen,
)
from nerv.workflows import Concurrency, Drawing, Output, PermanentError, Result

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

#: app.App
app = nerv.App("shop")


#: app.event
@app.event("tea.delivered.v1", topic="shop.stock.v1", key="tea")
class Delivered(nerv.Event):
    tea: str
    grams: int


#: app.upcaster
@app.upcaster("tea.delivered.v0", to="tea.delivered.v1")
def grams_for_ounces(data: dict[str, Any]) -> dict[str, Any]:
    return {"tea": data["tea"], "grams": data["ounces"] * 28}


#: app.topic
app.topic("shop.stock.v1", partitions=8, invalid="deadletter")

#: app.use
app.use(middleware.redact("card"), topic="shop.stock.v1")

#: app.bridge
app.bridge("stock", "topic:shop.stock.v1", "bus")

#: app.bus
app.bus.subscribe("tea.*", lambda event: None, weak=False)


#: app.on
@app.on("tea.delivered.v1")
def shelve(event: Delivered) -> Append:
    return nerv.append(f"stock-{event.tea}", event)


#: app.weave
app.weave(Logged("debug"))


#: app.projection
@app.projection("stock", on=["tea.delivered.v1"])
def stock(state: dict[str, int] | None, event: Delivered) -> dict[str, int]:
    return {"grams": (state or {"grams": 0})["grams"] + event.grams}


#: app.Index
@app.projection("teas", on=["tea.delivered.v1"], key="tea", indexes={"grams": nerv.Index("grams", int)})
def teas(state: dict[str, int] | None, event: Delivered) -> dict[str, int]:
    return stock(state, event)


#: app.Window
@app.projection("daily", on=["tea.delivered.v1"], key="tea", window=nerv.Window(seconds=86_400, grace=3600))
def daily(state: dict[str, int] | None, event: Delivered) -> dict[str, int]:
    return stock(state, event)


#: app.snapshots
app.snapshots(category="stock", events=500)


#: app.perspective
@app.perspective("stock", "kitchen", default=True)
class Kitchen(nerv.Perspective):
    grams: int


#: app.decider
@app.decider("stock")
def take(state: dict[str, int] | None, grams: int) -> Any:
    if (state or {"grams": 0})["grams"] < grams:
        return nerv.refuse("too-little", "there is not so much of it")
    return Delivered(tea="", grams=-grams)


given(app, "stock", Delivered(tea="oolong", grams=500)).when(300).then(Delivered(tea="", grams=-300))


#: app.task
@app.task(retries=3, timeout=30.0)
async def weigh(tea: str, client: nerv.Client) -> int:
    return int((await client.views.get("stock", tea))["state"]["grams"])


@app.task()
def add_up(grams: list[int]) -> int:
    return sum(grams)


#: app.workflow
@app.workflow("inventory")
def inventory(w: Drawing, teas: list[str]) -> Output:
    return w.call(add_up, w.map(weigh, teas))


#: app.schedule
app.schedule("nightly", "inventory", cron="0 3 * * *", zone="Europe/Berlin", input={"teas": ["oolong"]})


#: app.source
@app.source("teas")
class Teas(CsvSource):
    category = "tea"
    key = "name"
    row = Kitchen


#: app.container
@app.container.singleton
class Scales:
    def weigh(self) -> int:
        return 500


#: app.handlers
@frozen
class Mail(Effect[None]):
    kind: ClassVar[str] = "shop.mail"
    to: str


app.handlers.on(Mail, lambda mail: None)

#: app.check
app.check()

#: types.EntityId
EntityId("oolong")

#: types.EventId
types.new_event_id()

#: types.ResourceId
ResourceId("database")

#: types.VersionId
types.check_version(7)

#: types.Event
event = types.Event(EventId("1"), "till", "tea.delivered.v1", NOON, b'{"tea": "oolong", "grams": 500}')

#: types.Effect
Mail("ann@example.org").kind

#: types.EventType
EventType.STATE_CHANGED

#: types.EffectType
EffectType.APPEND

#: types.LifecycleState
LifecycleState.RUNNING

#: types.Health
Health.OK

#: types.Resource
Resource(ResourceId("database"), "Database").to(LifecycleState.STARTING)

#: types.VersionedState
VersionedState(EntityId("oolong"), VersionId(2), {"grams": 750})

#: types.Principal
Principal("ann", "tenant", frozenset({"views:read:stock"})).require("views:read", "stock")

#: types.ANYONE
types.ANYONE.subject

#: types.Description
app.describe()

#: types.Stamp
Stamp(1_772_366_400_000_000, 0, "node-1") < Stamp(1_772_366_400_000_000, 1, "node-1")


#: types.frozen
@frozen
class Leg:
    origin: str


#: types.category_of
types.category_of("stock-oolong")  # stock

#: types.entity_of
types.entity_of("stock-oolong")  # oolong

#: types.check_id
types.check_id("oolong", "tea")

#: types.check_ids
types.check_ids(["oolong", "sencha"], "tea")

#: types.check_version
types.check_version(0)

#: types.new_event_id
types.new_event_id()

#: types.new_entity_id
types.new_entity_id()

#: types.new_resource_id
types.new_resource_id()

#: types.instant_of
types.instant_of(types.new_event_id())

#: types.parse_instant
types.parse_instant("2026-03-01T12:00Z")

#: types.format_instant
types.format_instant(NOON)  # 2026-03-01T12:00:00.000000Z

#: types.utc_now
types.utc_now()


#: types.T
def first(many: Sequence[types.T]) -> types.T:
    return many[0]


#: effects.append
nerv.append("stock-oolong", Delivered(tea="oolong", grams=500))

#: effects.publish
nerv.publish(Delivered(tea="oolong", grams=500))

#: effects.run
nerv.run("inventory", teas=["oolong"])

#: effects.http
nerv.http("POST", "https://example.org/orders", {"tea": "oolong"})

#: effects.pure
pure(7).map(lambda n: n + 1)

#: effects.ask
ask(Mail("ann@example.org"))

#: effects.sequence
sequence([Mail("ann"), Mail("bob")])

#: effects.parallel_all
parallel_all([Mail("ann"), Mail("bob")], limit=10)

#: effects.race
race(Mail("ann"), Mail("bob"))

#: effects.EffectMonad
program: EffectMonad[int] = ask(Mail("ann")).then(pure(1)).retry(RetryPolicy(attempts=3))

#: effects.RetryPolicy
RetryPolicy(attempts=3)

#: effects.Handlers
handlers = Handlers().on(Mail, lambda mail: None)

#: effects.Cache
Cache(ttl=60.0, size=100)

#: effects.using
with using(handlers, DryRun()) as context:
    asyncio.run(program.run())

#: effects.DryRun
DryRun({Mail: lambda mail: None})

#: effects.Recording
recording = Recording()

#: effects.Replay
Replay(recording.record)

#: bus.EventBus
bus = EventBus("shop")
bus.subscribe("tea.*", lambda event: None, name="board", weak=False)
bus.send(event)

#: bus.Lanes
bus.subscribe("tea.*", lambda event: None, lanes=Lanes(4), weak=False)

#: state.freeze
before = freeze({"grams": 500, "shelf": {"row": 1}})

#: state.put
after = put(before, ("shelf", "row"), 2)

#: state.get
get(after, ("shelf", "row"))  # 2

#: state.update
update(before, ("grams",), lambda grams: grams + 250)

#: state.between
delta = between(before, after)

#: state.Delta
delta.invert().apply(after) == before

#: state.changed
changed(before, ("grams",), 750)

#: state.thaw
thaw(after)  # {"grams": 500, "shelf": {"row": 2}}

#: state.ProjectionCache
ProjectionCache(size=1000)

#: protocols.Expected
Expected.parse("7")

#: protocols.AppendRequest
AppendRequest("stock-oolong", [event])

#: protocols.ReadQuery
ReadQuery(limit=10)

#: history.JsonFold
JsonFold("stock", lambda state, event: event.data, ["tea.delivered.v1"])


#: history.TemporalStore
async def remembered() -> Any:
    async with TemporalStore.in_memory() as store:
        await store.append([AppendRequest("stock-oolong", [event])])
        projector: StateProjector[Any] = StateProjector(app, "stock", store)
        return (await projector.state("oolong", version=1)).state


assert asyncio.run(remembered()) == {"grams": 500}

#: deciders.refuse
nerv.refuse("too-little", "there is not so much of it", left=200)


#: perspectives.Perspective
class Shelf(Perspective):
    tea: Annotated[str, Identifier()]
    row: Annotated[int, Source("shelf.row")]
    price: Annotated[float | None, Redacted("prices:read"), Tolerance(0.01)] = None
    note: Annotated[str, Ignored()] = ""
    story: Annotated[str, Lazy()] = ""

    @computed
    def low(self) -> bool:
        return self.row == 0


#: perspectives.PerspectiveAware
PerspectiveAware(VersionedState(EntityId("oolong"), VersionId(1), {"grams": 500}), {"kitchen": Kitchen}).dump("kitchen")

#: perspectives.DiffSchema
Shelf.diff_schema().identifiers

#: workflows.Result
Result(750, [nerv.publish(Delivered(tea="oolong", grams=250))])

#: workflows.Concurrency
Concurrency("tea", most=3)

#: workflows.PermanentError
PermanentError("there is no such tea")

#: workflows.draw
nerv.workflows.draw(app.workflows["inventory"], app.tasks, {"teas": ["oolong"]})

#: sync.Direction
Direction.BOTH

#: sync.DiffSynchronizer
here = MappingSide.of("here", ("tea",), [{"tea": "oolong", "row": 1, "note": ""}])
DiffSynchronizer("shelves", here, MappingSide("there"), Shelf.diff_schema())

#: partition.Partition
partition = Partition()


@partition.unit
def numbers() -> list[int]:
    return [1, 2, 3]


@partition.unit
def summed(numbers: list[int]) -> int:
    return sum(numbers)


#: partition.QuantumPartitioner
assert QuantumPartitioner("threads").run_sync(partition)["summed"] == 6

#: partition.Unit
Unit("one", lambda: 1)

#: di.Container
container = Container("shop")
container.singleton(Scales)


#: di.Inject
@container.inject
def weighed(scales: Scales = Inject(Scales)) -> int:
    return scales.weigh()


#: aspects.AspectWeaver
AspectWeaver(Measured()).function(first)([1, 2])


#: aspects.Aspect
class Announced(Aspect):
    name = "announced"

    def around(self, call: Call) -> Steps:
        result = yield
        print(call.target, result)
        return None


#: aspects.Logged
Logged("debug")

#: aspects.Measured
Measured()

#: aspects.Guarded
Guarded({ConnectionError: errors.Unavailable})

#: aspects.Secured
Secured(lambda call: "stock:write")

#: aspects.Traced
Traced()

#: aspects.acting
with acting(types.ANYONE):
    pass

#: schemas.schema_of
schema = schema_of("tea.delivered.v1", Format.JSON, b'{"type": "object"}')

#: schemas.incompatible
incompatible(schema, schema, Compatibility.BACKWARD)  # []


#: client.Client
async def asked() -> None:
    async with nerv.Client() as client:
        await client.topics.publish("shop.stock.v1", [event])
        await client.views.get("stock", "oolong", perspective="kitchen")
        await client.streams.state("stock-oolong", as_of=NOON)
        await client.workflows.start("inventory", {"teas": ["oolong"]})
        await Decider(app, "stock", client.streams).decide("oolong", 300)


#: client.States
async def before_noon(client: nerv.Client) -> Any:
    return await client.states("stock").state("oolong", as_of=NOON)
