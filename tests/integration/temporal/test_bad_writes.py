# SPDX-License-Identifier: Apache-2.0
"""Bad input on the way in: each has its own clear refusal, and the stream stays as it was."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from nerv.api.history.v1 import history_pb2
from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.errors import NotFound
from nerv.kafka import KafkaSettings
from nerv.kafka.admin import Admin
from nerv.topics import Topic, of_mesh
from tests.integration.temporal.ledger import ledger_mesh

APPS = Path(__file__).parent.parent.parent / "apps"
STRUCTURED = "application/cloudevents+json"
PROTOBUF = "application/x-protobuf"
DEEP = 10_000
LONG = "x" * 257


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(kafka: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMesh]:
    """One replica of temporal."""
    async with ledger_mesh(tmp_path_factory.mktemp("bad"), kafka, redis_url) as running:
        yield running


def document(**changes: Any) -> dict[str, Any]:
    """A deposit as a structured CloudEvent."""
    return {
        "specversion": "1.0",
        "id": uuid.uuid4().hex,
        "source": "test",
        "type": "account.deposited.v1",
        "time": "2013-01-15T12:00:00Z",
        "datacontenttype": "application/json",
        "data": {"account": "a", "amount": 5},
    } | changes


def nested(kind: str) -> str:
    """A document whose data is 10,000 levels deep."""
    opening, closing = {"array": ("[", "]"), "object": ('{"a":', "}")}[kind]
    deep = opening * DEEP + ("1" if kind == "object" else "") + closing * DEEP
    return json.dumps(document(data="DEEP")).replace('"DEEP"', deep)


BODIES = {
    "deep-arrays": (nested("array"), 413, "32 levels"),
    "deep-objects": (nested("object"), 413, "32 levels"),
    "deep-and-never-closed": ("[" * DEEP, 413, "32 levels"),
    "empty": ("", 400, "JSON"),
    "a-string": ('"event"', 400, "object"),
    "null": ("null", 400, "object"),
    "no-id": (json.dumps(document(id="")), 400, "event.id"),
    "id-a-number": (json.dumps(document(id=7)), 400, "event.id"),
    "id-too-long": (json.dumps(document(id=LONG)), 413, "256"),
    "id-with-nul": (json.dumps(document(id="a\x00b")), 400, "control"),
    "source-a-list": (json.dumps(document(source=["test"])), 400, "event.source"),
    "type-missing": (json.dumps(document(type=None)), 400, "event.type"),
    "time-a-number": (json.dumps(document(time=5)), 400, "event.time"),
    "time-without-offset": (json.dumps(document(time="2013-01-15T12:00:00")), 400, "offset"),
    "time-missing": (json.dumps(document(time=None)), 400, "event.time"),
    "sequence-negative": (json.dumps(document(sequence=-1)), 400, "sequence"),
    "other-specversion": (json.dumps(document(specversion="2.0")), 400, "specversion"),
    "base64-a-number": (json.dumps({**document(), "data": None, "data_base64": 5}), 400, "data"),
    "unknown-attribute": (json.dumps(document(colour="red")), 400, "colour"),
    "data-of-wrong-type": (json.dumps(document(data={"account": "a", "amount": "much"})), 422, "amount"),
    "data-a-list": (json.dumps(document(data=[1])), 422, "account.deposited.v1"),
}


async def refused(
    http: aiohttp.ClientSession, mesh: LocalMesh, body: str, *, query: str = "", headers: dict[str, str] | None = None
) -> tuple[int, str]:
    """Status and detail of a refusal, which has left no stream."""
    stream = f"account-{uuid.uuid4().hex}"
    path = f"/v1/streams/{stream}/events{query}"
    async with http.post(path, data=body.encode(), headers={"content-type": STRUCTURED} | (headers or {})) as answer:
        problem = await answer.json(content_type="application/problem+json")
        assert answer.status == problem["status"]
    async with Client({"temporal": mesh.url("temporal")}) as client:
        with pytest.raises(NotFound):
            _ = [event async for event in client.streams.read(stream)]
    return answer.status, json.dumps(problem)


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_malformed_event_is_refused(http: aiohttp.ClientSession, mesh: LocalMesh, name: str) -> None:
    """Wrong types, ids, instants and depths: the refusal names what is wrong."""
    body, status, words = BODIES[name]
    found, problem = await refused(http, mesh, body)
    assert found == status, problem
    assert words in problem


@pytest.mark.parametrize(
    ("query", "headers", "status", "words"),
    [
        ("?expected_version=-1", {}, 400, "expected_version"),
        ("?expected_version=99999999999999999999", {}, 400, "expected_version"),
        ("?expected_version=9223372036854775808", {}, 400, "expected_version"),
        ("?expected_version=9223372036854775807", {}, 409, "version 0"),
        ("?expected_version=1.5", {}, 400, "expected_version"),
        ("?expected_version=%D9%A1", {}, 400, "expected_version"),
        ("?expected_version=", {}, 400, "expected_version"),
        ("?expected_version=1&expected_version=2", {}, 400, "given 2 times"),
        ("?expectedVersion=3", {}, 400, "expected_version"),
        ("", {"if-match": "3"}, 400, "If-Match"),
        ("", {"if-match": 'W/"3"'}, 400, "If-Match"),
        ("", {"if-match": '"any"'}, 400, "If-Match"),
        ("", {"if-match": "*"}, 409, "version 0"),
        ("?expected_version=0", {"if-match": '"0"'}, 400, "not both"),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_wrong_expectation_is_refused(
    http: aiohttp.ClientSession, mesh: LocalMesh, query: str, headers: dict[str, str], status: int, words: str
) -> None:
    """Negative, huge, foreign digits, misspelt or said twice: never taken for "any"."""
    found, problem = await refused(http, mesh, json.dumps(document()), query=query, headers=headers)
    assert found == status, problem
    assert words in problem


@pytest.mark.parametrize(
    ("stream", "status", "words"),
    [("a" * 257, 413, "256"), ("a%00b", 400, "control"), ("a%0D%0Ab", 404, "no /v1"), ("%ED%A0%80", 400, "UTF-8")],
    ids=["long", "nul", "crlf", "surrogate"],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_malformed_stream_is_refused(http: aiohttp.ClientSession, stream: str, status: int, words: str) -> None:
    """A name that could not be a key or a header."""
    url = URL(f"/v1/streams/{stream}/events", encoded=True)
    async with http.post(url, data=json.dumps(document()), headers={"content-type": STRUCTURED}) as answer:
        problem = await answer.text()
        assert answer.status == status, problem
        assert words in problem


@pytest.mark.asyncio(loop_scope="module")
async def test_one_bad_request_of_a_batch_harms_no_other(http: aiohttp.ClientSession) -> None:
    """As protobuf: an instant out of range, no expectation, a huge version and data too deep for any reader of JSON are refused
    one by one; the good one is done.
    """
    batch = history_pb2.AppendBatch()
    for _ in range(5):
        one = batch.requests.add(stream=f"account-{uuid.uuid4().hex}", expect=history_pb2.EXPECT_ANY)
        one.events.add(id="1", source="test", type="thing.noted.v1", time_us=1, content_type="text/plain", data=b"x")
    batch.requests[0].events[0].time_us = 2**62
    batch.requests[1].expect = history_pb2.EXPECT_UNSPECIFIED
    batch.requests[2].expect = history_pb2.EXPECT_EXACT
    batch.requests[2].expected_version = 2**64 - 1
    deep = batch.requests[4].events[0]
    deep.content_type, deep.data = "application/json", b"[" * DEEP + b"]" * DEEP
    async with http.post("/v1/streams", data=batch.SerializeToString(), headers={"content-type": PROTOBUF}) as answer:
        replies = history_pb2.AppendBatchReply.FromString(await answer.read()).replies
    assert [reply.refused.status for reply in replies[:3]] == [400, 400, 400]
    assert replies[3].appended.first_version == 1
    assert (replies[4].refused.status, "32 levels" in replies[4].refused.detail) == (413, True)
    async with http.post("/v1/streams", data=b"\xff\xff", headers={"content-type": PROTOBUF}) as answer:
        assert (answer.status, "AppendBatch" in await answer.text()) == (400, True)


@pytest.mark.parametrize("other", ["history.v1", "barriers.v1", "commands.v1", "replies.v1"])
def test_a_topic_with_another_partition_count_stops_the_start(kafka: str, mesh_name: str, other: str) -> None:
    """The service exits 2, and says which topic, which counts and what to do; streams would have other partitions."""
    name = f"{mesh_name}.{other}"
    topics = [Topic(t.name, 3 if t.name == name else t.partitions, config=t.config) for t in of_mesh(mesh_name)]
    admin = Admin(KafkaSettings(bootstrap_servers=kafka), "test")
    admin.create(topics)
    admin.wait_for([topic.name for topic in topics], 60.0)
    base = {key: value for key, value in os.environ.items() if not key.startswith(("NERV_", "OTEL_"))}
    environment = base | {
        "NERV_APP": "ledger:app",
        "PYTHONPATH": str(APPS),
        "NERV_MESH": mesh_name,
        "NERV_INSECURE_DEV": "1",
        "NERV_KAFKA__BOOTSTRAP_SERVERS": kafka,
    }
    done = subprocess.run(
        [sys.executable, "-m", "nerv_temporal"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert f"{name} has 3 partitions, not 4" in done.stderr
    assert "Traceback" not in done.stderr
