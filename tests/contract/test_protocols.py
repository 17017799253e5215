# SPDX-License-Identifier: Apache-2.0
"""The six words of the design, each kept by every component that says it is one."""

import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response
from starlette.types import Message

import nerv
from nerv.app import SnapshotPolicy
from nerv.bus import EventBus
from nerv.bus.bridge import Bridge
from nerv.bus.redis_wire import RedisWire
from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.effects import Context, DryRun, Handlers, Recording
from nerv.errors import Invalid
from nerv.history import JsonFold
from nerv.history.store import TemporalStore
from nerv.limits import Limits
from nerv.partition import Each, Unit
from nerv.projections import Projection, StateProjector
from nerv.protocols import Appended, AppendRequest, Effectful, History, Observable, Projectable, QuantumUnit, Versioned
from nerv.protocols.wire import Arrived
from nerv.redis import RedisSettings, connect
from nerv.redis.connection import Redis
from nerv.service import Request, Route, respond
from nerv.service.auth import Authenticator, AuthSettings
from nerv.service.http import Door
from nerv.testing.contracts.boundary import BoundaryContract
from nerv.testing.contracts.effectful import EffectfulContract, contract_handlers
from nerv.testing.contracts.observable import ObservableContract
from nerv.testing.contracts.projectable import ProjectableContract
from nerv.testing.contracts.quantum import QuantumUnitContract
from nerv.testing.contracts.versioned import VersionedContract
from nerv.types import Event, new_event_id, utc_now

APPS = Path(__file__).parent.parent / "apps"
Happen = Callable[[str, datetime], Awaitable[datetime]]

app = nerv.App("bank")


@app.event("account.deposited.v1")
class Deposited(nerv.Event):
    """Money came in."""

    account: str
    amount: int


@app.projection("account", on=["account.deposited.v1"])
def account(state: dict[str, int] | None, event: Deposited) -> dict[str, int]:
    """The balance."""
    return {"balance": (state or {"balance": 0})["balance"] + event.amount}


def deposited(amount: int = 5, at: datetime | None = None) -> Event[bytes]:
    """A deposit to be appended."""
    data = Deposited(account="ann", amount=amount).model_dump_json().encode()
    return Event(new_event_id(), "test", "account.deposited.v1", at or utc_now(), data)


# --- Observable ------------------------------------------------------------------------------------------------------


class TestEventBus(ObservableContract):
    """The event bus is observable."""

    @pytest.fixture
    async def observable(self) -> AsyncIterator[EventBus]:
        """A new one."""
        async with EventBus("observed") as bus:
            yield bus

    @pytest.fixture
    def happen(self, observable: EventBus) -> Callable[[], Awaitable[None]]:
        """Something is sent."""

        async def happen() -> None:
            observable.send(deposited())

        return happen


class TestStateProjectorObserved(ObservableContract):
    """A state projector is observable: whoever listens hears what changed."""

    @pytest.fixture
    async def store(self) -> AsyncIterator[TemporalStore]:
        """Where the events are."""
        async with TemporalStore.in_memory() as store:
            yield store

    @pytest.fixture
    async def observable(self, store: TemporalStore) -> AsyncIterator[Observable]:
        """Of the accounts."""
        async with StateProjector[Any](app, "account", store) as projector:
            yield projector

    @pytest.fixture
    def happen(self, store: TemporalStore, observable: StateProjector[Any]) -> Callable[[], Awaitable[None]]:
        """An event is recorded, and taken."""

        async def happen() -> None:
            await store.append([AppendRequest("account-ann", [deposited()])])
            [event] = [e async for e in store.read("account-ann", nerv.protocols.ReadQuery(backward=True, limit=1))]
            [change] = await observable.take(event)
            assert change.event == event

        return happen


# --- Versioned -------------------------------------------------------------------------------------------------------


def happening(history: History) -> Happen:
    """Deposits in the streams of accounts of a history."""

    async def happen(key: str, at: datetime) -> datetime:
        [outcome] = await history.append([AppendRequest(f"account-{key}", [deposited(at=at)])])
        assert isinstance(outcome, Appended)
        return outcome.recorded_time

    return happen


class ProjectorContract(VersionedContract):
    """A state projector is versioned, over whatever history."""

    @pytest.fixture
    def versioned(self, store: TemporalStore) -> Versioned[Any]:
        """The accounts, folded here."""
        return StateProjector[Any](app, "account", store)

    @pytest.fixture
    def happen(self, store: TemporalStore) -> Happen:
        """In the store."""
        return happening(store)

    @pytest.fixture
    def key(self) -> str:
        """The store is new for each test."""
        return "ann"


class TestStateProjectorInMemory(ProjectorContract):
    """In memory."""

    @pytest.fixture
    def store(self) -> TemporalStore:
        """A new one."""
        return TemporalStore.in_memory()


class TestStateProjectorInSqlite(ProjectorContract):
    """In a file, with a snapshot at every event."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[TemporalStore]:
        """A new one."""
        async with TemporalStore.sqlite(tmp_path / "history.db", policy=SnapshotPolicy(events=1)) as store:
            yield store


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(kafka: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """A temporal that hosts the ledger, for all tests; their keys are their own."""
    local = LocalMesh(
        app="ledger:app",
        services=["temporal"],
        folder=tmp_path_factory.mktemp("versioned") / ".nerv",
        mesh=f"t{uuid.uuid4().hex[:8]}",
        kafka=kafka,
        redis=redis_url,
        env={"PYTHONPATH": str(APPS)},
    )
    async with local, Client({"temporal": local.url("temporal")}) as client:
        yield client


@pytest.mark.asyncio(loop_scope="module")
class TestStatesOfTemporal(VersionedContract):
    """What temporal folds is versioned, by its client."""

    @pytest.fixture
    def versioned(self, mesh: Client) -> Versioned[Any]:
        """The accounts, folded there."""
        return mesh.states("account")

    @pytest.fixture
    def happen(self, mesh: Client) -> Happen:
        """In the mesh."""
        return happening(mesh.streams)

    @pytest.fixture
    def key(self) -> str:
        """One of the test's own."""
        return uuid.uuid4().hex[:8]


# --- Projectable -----------------------------------------------------------------------------------------------------


@pytest.fixture
def events() -> Sequence[Event[bytes]]:
    """Three deposits."""
    return [deposited(amount) for amount in (5, 7, 11)]


class TestProjection(ProjectableContract):
    """A projection of an app is projectable."""

    @pytest.fixture
    def projectable(self) -> Projectable[Any]:
        """The accounts."""
        return Projection[Any](app, app.projections["account"])


class TestJsonFold(ProjectableContract):
    """A fold of plain JSON is projectable."""

    @pytest.fixture
    def projectable(self) -> Projectable[Any]:
        """A running total."""
        return JsonFold[int]("total", lambda total, event: (total or 0) + event.data["amount"])

    async def test_a_store_folds_it_without_an_app(self) -> None:
        """At any version, from events whose data are JSON."""
        fold = JsonFold[int]("total", lambda total, e: (total or 0) + e.data["amount"], ["account.deposited.v1"])
        async with TemporalStore.in_memory() as store:
            await store.append([AppendRequest("account-ann", [deposited(amount) for amount in (5, 7, 11)])])
            assert (await store.state(fold, "account-ann")).state == 23
            assert (await store.state(fold, "account-ann", version=2)).state == 12


# --- Effectful -------------------------------------------------------------------------------------------------------


class TestHandlers(EffectfulContract):
    """Handlers perform effects."""

    @pytest.fixture
    def effectful(self) -> Effectful:
        """In a scope inside the one that has them."""
        return contract_handlers().scope()


class TestRecordingContext(EffectfulContract):
    """A context that records performs them, too."""

    @pytest.fixture
    def effectful(self) -> Effectful:
        """Handlers and a recording."""
        return Context(contract_handlers(), Recording())


async def test_a_dry_run_performs_nothing_and_says_what_it_would() -> None:
    """Whoever is asked, and by whom: each effect is recorded once, and answered by its stand-in."""
    from nerv.testing.contracts.effectful import Doubled, Unheard

    run = DryRun({Doubled: lambda effect: 99})
    context = Context(Handlers(), run)
    assert context.performs(Unheard)
    assert await context.perform_all([Doubled(-1), Unheard()]) == [99, None]
    assert [found.effect for found in run.record] == [Doubled(-1), Unheard()]
    assert context.describe().parts[-1].counters == {"recorded": 2}


# --- QuantumUnit -----------------------------------------------------------------------------------------------------


def double(number: int) -> int:
    """Twice a number."""
    return 2 * number


def total(numbers: list[int]) -> int:
    """The sum."""
    return sum(numbers)


def part_of_total(parts: int) -> list[Callable[[list[int]], int]]:
    """The sum of every so many-th."""

    def part(number: int) -> Callable[[list[int]], int]:
        return lambda numbers: sum(numbers[number::parts])

    return [part(number) for number in range(parts)]


@pytest.fixture
def inputs() -> Mapping[str, Any]:
    """Results of other units."""
    return {"numbers": list(range(20)), "other": None}


class TestUnit(QuantumUnitContract):
    """A function is a unit."""

    @pytest.fixture(params=["whole", "splittable"])
    def unit(self, request: pytest.FixtureRequest) -> QuantumUnit:
        """With and without a way to split it."""
        if request.param == "whole":
            return Unit.of(total, needs=["numbers"])
        return Unit.of(total, needs=["numbers"], split=part_of_total, merge=sum)


class TestEach(QuantumUnitContract):
    """A function for each item is a unit."""

    @pytest.fixture
    def unit(self) -> QuantumUnit:
        """Doubles."""
        return Each("doubled", double, "numbers")


# --- Boundary --------------------------------------------------------------------------------------------------------


class TestDoor(BoundaryContract):
    """The door of a service is the boundary of HTTP."""

    @pytest.fixture
    def inside(self) -> list[Any]:
        """The bodies that were processed."""
        return []

    @pytest.fixture
    def boundary(self, inside: list[Any]) -> Door:
        """A route that takes bodies of at most 8 bytes, and fails on one."""

        async def take(request: Request[None]) -> Response:
            if request.body == b"failing":
                raise ValueError("on purpose, with a secret")
            inside.append(request.body)
            return respond({"taken": True})

        door = Authenticator(AuthSettings(), insecure=True)
        return Door(Route("POST", "/v1/things", take, "things:write"), None, door, Limits(body=8))

    @pytest.fixture
    def make(self) -> Callable[[str], Awaitable[StarletteRequest]]:
        """A request with the kind for its body; a bad one is too large."""

        async def make(kind: str) -> StarletteRequest:
            body = {"good": b"good", "bad": b"much too large", "failing": b"failing"}[kind]

            async def receive() -> Message:
                return {"type": "http.request", "body": body, "more_body": False}

            scope = {
                "type": "http", "method": "POST", "path": "/v1/things", "headers": [], "query_string": b"", "path_params": {}
            }  # fmt: skip
            return StarletteRequest(scope, receive)

        return make

    @pytest.fixture
    def told(self) -> Callable[[Sequence[Response]], Awaitable[Sequence[str]]]:
        """The problem documents."""

        async def told(answers: Sequence[Response]) -> Sequence[str]:
            found = [bytes(answer.body).decode() for answer in answers if answer.status_code >= 400]
            assert all(json.loads(text)["status"] for text in found)
            assert "secret" not in "".join(found)
            return found

        return told


class TestBridgeInward(BoundaryContract):
    """A bridge is the boundary of a bus for what comes over a wire."""

    @pytest.fixture
    async def redis(self, redis_url: str) -> AsyncIterator[Redis]:
        """A client."""
        client = connect(RedisSettings(url=redis_url), "test")
        yield client
        await client.aclose()

    @pytest.fixture
    def wire(self, redis: Redis, mesh_name: str) -> RedisWire:
        """A stream of the test's own."""
        return RedisWire(redis, f"{mesh_name}:edge", reader="test")

    @pytest.fixture
    def inside(self) -> list[Any]:
        """What reached a subscriber."""
        return []

    @pytest.fixture
    async def boundary(self, wire: RedisWire, inside: list[Any]) -> AsyncIterator[Bridge]:
        """Decoding refuses the bad; a middleware fails on others."""

        def decode(event: Event[bytes]) -> Event[Any]:
            if event.data == b"bad":
                raise Invalid("bad data")
            return event

        def guard(event: Event[Any]) -> Event[Any]:
            if event.data == b"failing":
                raise ValueError("on purpose")
            return event

        async with EventBus("inside", middleware=[guard]) as bus:
            bus.subscribe("account.*", inside.append, weak=False)
            yield Bridge(bus, wire, inward=True, decode=decode)

    @pytest.fixture
    async def make(self, wire: RedisWire) -> AsyncIterator[Callable[[str], Awaitable[Arrived]]]:
        """An event that has come over the wire."""
        batches = wire.take()

        async def make(kind: str) -> Arrived:
            await wire.put([Event(new_event_id(), "test", "account.noted.v1", utc_now(), kind.encode())])
            [arrived] = await anext(batches)
            return arrived

        yield make
        await batches.aclose()  # type: ignore[attr-defined]  # take is an async generator everywhere

    @pytest.fixture
    def told(self, redis: Redis, wire: RedisWire) -> Callable[[Sequence[Any]], Awaitable[Sequence[str]]]:
        """The causes beside what was put aside."""

        async def told(answers: Sequence[Any]) -> Sequence[str]:
            entries: Any = await redis.xrange(f"{wire.stream}:refused")
            return [fields[b"cause"].decode() for _, fields in entries]

        return told
