# SPDX-License-Identifier: Apache-2.0
"""One trace goes through all five services: over HTTP, Kafka headers and Redis entries."""

import asyncio
import csv
import json
import os
import shutil
import sys
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from flights.data import data_folder, events_of, load_flights
from nerv.client import Client
from nerv.client.client import SERVICES
from nerv.dev.mesh import LocalMesh
from nerv.errors import NotFound
from nerv.protocols import Appended, AppendRequest, ReadQuery
from nerv.telemetry import Sampling, names, span, tracing
from nerv.telemetry.spans.quick import QuickSpans
from nerv.testing.otlp import Receiver
from nerv.types import Event, new_event_id
from nerv.workflows import Cause

TAIL = f"N{uuid.uuid4().hex[:8]}"
PROJECTIONS = {"aircraft", "airports", "carriers", "months"}
NERV = Path(sys.executable).with_name("nerv")

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def traced() -> Iterator[None]:
    """Spans in this process, too, so that there is a root; they are exported by nobody."""
    trace.set_tracer_provider(provider := TracerProvider())
    tracing.turn_on(Sampling(1.0), QuickSpans(provider, "nerv"))
    yield
    tracing.sample(None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    """Where the services export to."""
    async with Receiver() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(
    kafka: str, redis_url: str, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LocalMesh]:
    """All five services with the flights app, which has one of everything."""
    folder = tmp_path_factory.mktemp("trace")
    with (folder / "airlines.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["carrier", "name"])
        writer.writerow(["UA", "United Air Lines Inc."])
    async with LocalMesh(
        app="flights:app",
        folder=folder / ".nerv",
        mesh=f"t{uuid.uuid4().hex[:8]}",
        kafka=kafka,
        redis=redis_url,
        env={
            "FLIGHTS_DATA": str(folder),
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": receiver.traces,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        },
    ) as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(mesh: LocalMesh) -> AsyncIterator[Client]:
    """A client of it."""
    async with Client({name: mesh.url(name) for name in SERVICES}) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trace_id(traced: None, mesh: LocalMesh, client: Client) -> str:
    """The trace of a sync run, a published departure and a report."""
    with span("test", begin=True) as root:
        synced = await client.syncs.run("airlines")
        assert synced["summary"]["create"] == 1
        published = await client.topics.publish("flights.flight.v1", [departure(f"{TAIL}X")])
        assert len(published) == 1
        started = await client.workflows.start("monthly-report", {"year": "2013"})
    await client.workflows.wait(started["run"], seconds=60)
    return f"{root.get_span_context().trace_id:032x}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def flight(traced: None, mesh: LocalMesh, client: Client, trace_id: str) -> str:
    """The trace of one flight alone, once every projection has written it: nothing else is to be done then."""
    with span("flight", begin=True) as root:
        await client.topics.publish("flights.flight.v1", [departure(TAIL)])
    name = f"{root.get_span_context().trace_id:032x}"
    hops = {
        "broker: process flights.flight.v1",
        "broker: send flights.flight.v1",
        f"temporal: commit {mesh.mesh}.history.v1",
    }
    spans = await kept(client, name, hops)
    async with asyncio.timeout(60):
        while sum(one["name"] == "EVALSHA" for one in spans) < len(PROJECTIONS):
            await asyncio.sleep(0.1)
            spans = await known(client, name)
    return name


async def known(client: Client, trace_id: str) -> list[dict[str, Any]]:
    """The spans that the mesh keeps of a trace by now."""
    try:
        return await client.traces.show(trace_id)
    except NotFound:
        return []


def named(spans: Iterable[Mapping[str, Any]]) -> set[str]:
    """Service and name of each."""
    return {f"{one['service']}: {one['name']}" for one in spans}


async def kept(client: Client, trace_id: str, wanted: set[str]) -> list[dict[str, Any]]:
    """The spans that the mesh keeps of a trace, once these are among them."""
    spans: list[dict[str, Any]] = []
    async with asyncio.timeout(60):
        while not wanted <= named(spans):  # the store tells nobody
            spans = await known(client, trace_id)
            await asyncio.sleep(0.1)
    return spans


async def test_one_trace_holds_spans_of_all_five_services(trace_id: str, receiver: Receiver) -> None:
    """A sync run, a published event that a reaction appends and a projection folds, and a workflow: one trace id."""
    wanted = set(SERVICES)
    assert await receiver.until(lambda: receiver.services(trace_id) >= wanted, 60), receiver.services(trace_id)

    def names() -> set[str]:
        return {f"{s.service}: {s.name.split(' ')[0]}" for s in receiver.of_trace(trace_id)}

    hops = {"broker: send", "broker: process", "temporal: commit", "projector: process", "scheduler: process"}
    assert await receiver.until(lambda: hops <= names(), 60), names()


async def test_the_mesh_keeps_the_way_of_a_flight(mesh: LocalMesh, client: Client, flight: str) -> None:
    """From the broker over Kafka, temporal, Kafka and the projector to Redis, each span with what it touched."""
    history = f"{mesh.mesh}.history.v1"
    spans = await known(client, flight)
    by_id = {one["span"]: one for one in spans}

    def way(one: Mapping[str, Any] | None) -> list[str]:
        return [] if one is None else [*way(by_id.get(one["parent"])), f"{one['service']}: {one['name']}"]

    flown = [one for one in spans if one["attributes"].get("nerv.stream") == f"aircraft-{TAIL}"]
    [commit] = [one for one in flown if one["name"] == f"commit {history}"]
    assert way(commit)[-3:] == [
        "broker: send flights.flight.v1", "broker: process flights.flight.v1", f"temporal: commit {history}"
    ]  # fmt: skip
    placed = {
        name: commit["attributes"][name] for name in ("messaging.destination.partition.id", "messaging.kafka.offset")
    }
    folded = [one for one in flown if one["name"] == f"process {history}"]
    assert {one["attributes"]["nerv.projection"] for one in folded} == PROJECTIONS
    for one in folded:
        assert one["attributes"]["nerv.version"] == commit["attributes"]["nerv.version"] == 1
        assert placed.items() <= one["attributes"].items()
    written = [one for one in spans if one["name"] == "EVALSHA"]
    ways = [way(one) for one in written]
    assert any(
        found[-3:] == [f"projector: process {history}", "projector: write views", "projector: EVALSHA"]
        for found in ways
    )
    sent = next(one for one in spans if one["name"] == "send flights.flight.v1")
    assert sent["attributes"].keys() >= {"messaging.destination.partition.id", "messaging.kafka.offset"}


async def test_the_mesh_keeps_all_tasks_of_a_report(client: Client, trace_id: str) -> None:
    """Each task that its workflow has, under the start of its run."""
    spans = await kept(client, trace_id, {"scheduler: process join_months", "scheduler: process monthly-report"})
    [start] = [one for one in spans if one["name"] == "send monthly-report"]
    tasks = [one for one in spans if one["attributes"].get("nerv.task") == "load_month"]
    assert len(tasks) == 12
    assert {one["parent"] for one in tasks} == {start["span"]}


async def test_spans_have_the_names_and_attributes_of_the_one_file(client: Client, trace_id: str) -> None:
    """Every span and attribute that came of all five services is named in `nerv.telemetry.names`."""
    spans = await kept(client, trace_id, {"scheduler: process monthly-report", "projector: EVALSHA"})
    known = {value for name, value in vars(names).items() if name.isupper()}
    for one in spans:
        assert one["attributes"].keys() <= known, one["name"]
    kinds = {one["kind"]: one["name"].partition(" ")[0] for one in spans}
    assert kinds["producer"] == "send"
    assert kinds["consumer"] == "process"


async def test_the_command_shows_a_trace(mesh: LocalMesh, client: Client, trace_id: str) -> None:
    """As a tree, among the last ones, and as JSON; of one that is not kept it says what may be why."""
    await kept(client, trace_id, {"scheduler: process join_months"})
    code, out, _ = await command(mesh, "trace", trace_id)
    assert code == 0
    assert f"trace {trace_id}" in out
    assert "process flights.flight.v1" in out
    code, out, _ = await command(mesh, "trace", "--json")
    assert trace_id in {row["trace"] for row in json.loads(out)["traces"]}
    code, out, _ = await command(mesh, "trace", "--last", "--slow", "--json")
    slowest = json.loads(out)
    assert {one["trace"] for one in slowest["spans"]} == {slowest["trace"]}
    code, _, said = await command(mesh, "trace", "0" * 32)
    assert code == 1
    assert "not sampled" in " ".join(said.split())
    code, _, said = await command(mesh, "trace", "abc")
    assert code == 1
    assert "32 hexadecimal digits" in " ".join(said.split())


async def test_the_command_says_why_an_event_is_there(mesh: LocalMesh, client: Client, flight: str) -> None:
    """The departure in an aircraft's stream was caused by the one on the topic, by a reaction, in the trace of the publish."""
    code, out, said = await command(mesh, "why", f"aircraft-{TAIL}@1", "--json")
    assert code == 0, said
    found = json.loads(out)
    assert found["notes"] == []
    came, recorded = sorted(found["events"], key=lambda one: str(one["topic"]))
    assert (came["topic"], came["type"], came.get("cause")) == ("flights.flight.v1", "flight.departed.v1", None)
    assert (recorded["stream"], recorded["version"], recorded["cause"]) == (f"aircraft-{TAIL}", 1, came["id"])
    assert (recorded["asked"], recorded["source"]) == (True, "nerv:flights/record_departure")
    [looked] = [one for one in found["looked"] if one["topic"] == "flights.flight.v1"]
    assert (looked["looked"] >= 1, looked["whole"], looked["until"]) == (True, True, None)
    assert {one["traceparent"][3:35] for one in (came, recorded)} == {flight}
    code, out, _ = await command(mesh, "why", f"aircraft-{TAIL}@1")
    lines = out.splitlines()
    assert lines[0].lstrip().startswith(f"flights.flight.v1[{came['partition']}]@{came['offset']}")
    assert f"aircraft-{TAIL}@1" in lines[1]
    assert "by record_departure" in lines[1]


async def test_the_command_says_what_a_run_has_led_to(mesh: LocalMesh, client: Client, trace_id: str) -> None:
    """All that was recorded of a report, below its start."""
    spans = await kept(client, trace_id, {"scheduler: process monthly-report"})
    [stream] = {one["attributes"]["nerv.stream"] for one in spans if one["name"] == "send monthly-report"}
    code, out, said = await command(mesh, "why", f"{stream}@1", "--json")
    assert code == 0, said
    events = json.loads(out)["events"]
    [first] = [one for one in events if one["cause"] is None]
    assert (first["type"], first["asked"]) == ("nerv.run.submitted.v1", True)
    assert {one["cause"] for one in events} == {None, first["id"]}
    assert "nerv.run.completed.v1" in {one["type"] for one in events}
    [published] = [one for one in events if one["topic"] == "flights.report.v1"]  # by a task; nobody has recorded it
    assert (published["type"], published["partition"] >= 0, published["offset"] >= 0) == (
        "report.monthly.v1",
        True,
        True,
    )
    code, _, said = await command(mesh, "why", f"{stream}@999")
    assert (code, "nerv history" in " ".join(said.split())) == (1, True)
    code, _, said = await command(mesh, "why", "aircraft")
    assert (code, "STREAM@VERSION" in " ".join(said.split())) == (2, True)


async def test_the_command_goes_through_a_run(mesh: LocalMesh, client: Client, flight: str) -> None:
    """From the flight on the topic to what its run has recorded, and from there back."""
    [recorded] = [one async for one in client.streams.read(f"aircraft-{TAIL}", ReadQuery(to_version=1))]
    chain = recorded.correlation_id or recorded.id
    run = new_event_id()
    cause = Cause(recorded.id, chain, "flights/look_after")
    await client.workflows.start("monthly-report", {}, run=run, cause=cause)
    assert (await client.workflows.wait(run))["status"] == "completed"
    for asked in (f"aircraft-{TAIL}@1", f"run-{run}@1", f"run-{run}@2"):
        code, out, said = await command(mesh, "why", asked, "--json")
        assert code == 0, said
        events = {one["id"]: one for one in json.loads(out)["events"]}
        [start] = [one for one in events.values() if one.get("stream") == f"run-{run}" and one["version"] == 1]
        assert (start["cause"], start["source"]) == (recorded.id, "nerv:flights/look_after")
        assert events[events[recorded.id]["cause"]]["topic"] == "flights.flight.v1"
        of_run = [one for one in events.values() if one.get("stream") == f"run-{run}" and one["version"] > 1]
        assert of_run
        assert {one["cause"] for one in of_run} == {start["id"]}


async def test_the_command_finds_what_the_chain_does_not_hold(mesh: LocalMesh, client: Client, flight: str) -> None:
    """Asked from either end: the event of history that a chain began with, and one between two others that only a topic has."""
    first, second, published = departure(TAIL), departure(TAIL), departure(f"{TAIL}Y")
    second = replace(second, correlation_id=first.id, causation_id=first.id)
    published = replace(published, correlation_id=first.id, causation_id=second.id)
    for stream, event in ((f"began-{TAIL}", first), (f"began-{TAIL}-2", second)):
        assert isinstance((await client.streams.append([AppendRequest(stream, [event])]))[0], Appended)
    await client.topics.publish("flights.flight.v1", [published])
    [recorded] = await recorded_in(client, f"aircraft-{TAIL}Y")
    for asked in (f"aircraft-{TAIL}Y@1", f"began-{TAIL}@1"):
        code, out, said = await command(mesh, "why", asked, "--json")
        assert code == 0, said
        events = {one["id"]: one for one in json.loads(out)["events"]}
        assert {name: one["cause"] for name, one in events.items()} == {
            first.id: None, second.id: first.id, published.id: second.id, recorded.id: published.id
        }  # fmt: skip
        assert (events[first.id]["stream"], events[first.id]["version"]) == (f"began-{TAIL}", 1)
        assert events[published.id]["topic"] == "flights.flight.v1"
    code, out, _ = await command(mesh, "why", f"began-{TAIL}@1")
    assert (code, "records of flights.flight.v1 since" in out) == (0, True)


async def recorded_in(client: Client, stream: str) -> list[Event[bytes]]:
    """The events of a stream, once there is one."""
    async with asyncio.timeout(60):
        while True:
            with suppress(NotFound):
                return [one async for one in client.streams.read(stream)]
            await asyncio.sleep(0.05)


async def command(mesh: LocalMesh, *words: str) -> tuple[int, str, str]:
    """A command of ours: its code, output and errors."""
    places = {f"NERV_SERVICES__{name.upper()}": mesh.url(name) for name in SERVICES}
    running = await asyncio.create_subprocess_exec(
        NERV,
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **places, "COLUMNS": "160"},
    )
    out, err = await running.communicate()
    return running.returncode or 0, out.decode(), err.decode()


async def test_lines_of_the_log_carry_the_ids_of_their_trace(mesh: LocalMesh, client: Client, trace_id: str) -> None:
    """What sync logged of the run is found by the id."""
    lines = [json.loads(line) for line in (mesh.logs / "sync.log").read_text().splitlines() if line.startswith("{")]
    [finished] = [line for line in lines if line["event"] == "run.finished"]
    assert finished["trace_id"] == trace_id
    assert len(finished["span_id"]) == 16


def departure(tail: str) -> Event[bytes]:
    """The first departure of the year, under an id of its own, of an aircraft that nobody else has."""
    flight = next(flight for flight in load_flights(data_folder(), [1])[1] if flight.departed is not None)
    event = events_of(flight)[0]
    data = json.loads(event.data) | {"tailnum": tail}
    return replace(event, id=new_event_id(), data=json.dumps(data).encode())
