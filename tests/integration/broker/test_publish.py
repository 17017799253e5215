# SPDX-License-Identifier: Apache-2.0
"""Publishing over HTTP: three forms, the place of each event, and refusals that leave the topic as it was."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.types import new_event_id
from tests.integration.broker.ends import settled_ends

pytestmark = pytest.mark.asyncio(loop_scope="module")

STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(mesh: LocalMesh) -> AsyncIterator[aiohttp.ClientSession]:
    """Plain HTTP to the broker."""
    async with aiohttp.ClientSession(mesh.url("broker")) as session:
        yield session


def document(**changes: Any) -> dict[str, Any]:
    """A deposit as a structured CloudEvent."""
    return {
        "specversion": "1.0",
        "id": new_event_id(),
        "source": "test",
        "type": "account.deposited.v1",
        "time": "2013-01-15T12:00:00Z",
        "data": {"account": "a", "amount": 5},
    } | changes


async def test_structured_batch_and_binary_are_answered_with_their_places(
    http: aiohttp.ClientSession, kafka: str, prefix: str
) -> None:
    """Each form is published; the answer names partition and offset of each event, and Kafka has it there."""
    topic = f"{prefix}.account.v1"
    before = await settled_ends(kafka, topic)
    path = f"/v1/topics/{topic}/events"
    placed: list[dict[str, Any]] = []
    forms: list[tuple[bytes, dict[str, str]]] = [
        (json.dumps(document()).encode(), {"content-type": STRUCTURED}),
        (json.dumps([document() for _ in range(3)]).encode(), {"content-type": BATCH}),
        (
            b'{"account": "a", "amount": 5}',
            {
                "content-type": "application/json",
                "ce-specversion": "1.0",
                "ce-id": new_event_id(),
                "ce-source": "test",
                "ce-type": "account.deposited.v1",
            },
        ),
    ]
    for body, headers in forms:
        async with http.post(path, data=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            placed += (await answer.json())["events"]
    after = await settled_ends(kafka, topic)
    assert len(placed) == 5
    assert len({one["partition"] for one in placed}) == 1, "one key is in one partition"
    partition = placed[0]["partition"]
    offsets = [one["offset"] for one in placed]
    assert offsets == sorted(set(offsets)), "each has a place of its own, in the order of the requests"
    assert before[partition] <= offsets[0] < offsets[-1] < after[partition]
    assert {p for p in after if after[p] != before[p]} == {partition}


@pytest.mark.parametrize(
    ("topic", "body", "content_type", "status", "words"),
    [
        ("nowhere.at.v1", json.dumps(document()), STRUCTURED, 404, "account.v1"),
        ("{mesh}.history.v1", json.dumps(document()), STRUCTURED, 403, "streams"),
        ("", "{not json", STRUCTURED, 400, "JSON"),
        ("", json.dumps({"specversion": "1.0"}), STRUCTURED, 400, "id"),
        ("", json.dumps(document(data={"account": "a"})), STRUCTURED, 422, "/amount"),
        ("", json.dumps(document(type="nobody.knows.v1")), STRUCTURED, 422, "nobody.knows.v1"),
        ("", json.dumps(document(type="account.noticed.v1")), STRUCTURED, 422, "belongs on"),
        ("", json.dumps([document(), document(data={})]), BATCH, 422, "events[1]"),
        ("", json.dumps([document() for _ in range(501)]), BATCH, 413, "500"),
        ("", json.dumps(document(data={"account": "a" * 300_000, "amount": 1})), STRUCTURED, 413, "262144"),
        ("", "x" * (1024 * 1024 + 1), STRUCTURED, 413, "1048576"),
        ("", json.dumps(document(id="a\nb")), STRUCTURED, 400, "id"),
        ("", json.dumps(document()), "text/plain", 400, "content-type"),
    ],
    ids=["topic", "mesh", "json", "envelope", "schema", "type", "place", "one", "batch", "event", "body", "lf", "form"],
)
async def test_refusals_say_why_and_publish_nothing(
    http: aiohttp.ClientSession,
    mesh: LocalMesh,
    kafka: str,
    prefix: str,
    topic: str,
    body: str,
    content_type: str,
    status: int,
    words: str,
) -> None:
    """Each bad request has its status and a problem document that names the cause, and no partition has grown."""
    own = f"{prefix}.account.v1"
    before = await settled_ends(kafka, own)
    path = f"/v1/topics/{(topic or own).format(mesh=mesh.mesh)}/events"
    async with http.post(path, data=body.encode(), headers={"content-type": content_type}) as answer:
        problem = await answer.json(content_type="application/problem+json")
    assert (answer.status, problem["status"]) == (status, status), problem
    assert words in json.dumps(problem), problem
    assert await settled_ends(kafka, own) == before


async def test_protobuf_data_are_checked_and_reacted_to(
    http: aiohttp.ClientSession, client: Client, kafka: str, prefix: str
) -> None:
    """As JSON are: keyed by the field, refused with the path, read by the reaction; the message is a registered schema."""
    own = f"{prefix}.account.v1"
    path, before = f"/v1/topics/{own}/events", await settled_ends(kafka, own)
    headers = {
        "content-type": "application/protobuf", "ce-specversion": "1.0", "ce-id": new_event_id(), "ce-source": "test",
        "ce-type": "account.deposited.v1",
    }  # fmt: skip
    async with http.post(path, data=b"\xff\xff", headers=headers) as answer:
        assert answer.status == 422
        assert "is no ledger.v1.Deposit" in await answer.text()
    assert await settled_ends(kafka, own) == before
    account = f"proto-{uuid.uuid4().hex[:8]}"
    data = bytes([10, len(account)]) + account.encode() + bytes([16, 7])
    async with http.post(path, data=data, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
    async with asyncio.timeout(60):
        while not (found := [e async for e in client.streams.read_category("account") if account in e.stream]):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert [(event.data, event.content_type) for event in found] == [(data, "application/protobuf")]
    assert (await client.schemas.show("ledger.v1.Deposit"))["format"] == "protobuf"


async def test_topics_say_what_the_app_declares(http: aiohttp.ClientSession, prefix: str) -> None:
    """The list holds the app's topics with their types and keys, and none of the mesh's own."""
    async with http.get("/v1/topics") as answer:
        found = {topic["name"]: topic for topic in (await answer.json())["topics"]}
    assert found[f"{prefix}.account.v1"]["types"] == {"account.deposited.v1": {"key": "account"}}
    assert found[f"{prefix}.account.v1"]["reactions"] == ["record"]
    assert not [name for name in found if name.startswith("__")]


async def test_the_documents_of_the_app_are_served(http: aiohttp.ClientSession, prefix: str) -> None:
    """AsyncAPI as JSON, and as a page on which nothing can run."""
    async with http.get("/v1/asyncapi") as answer:
        document = await answer.json()
    assert document["channels"][f"{prefix}.account.v1"]["messages"].keys() == {"account.deposited.v1"}
    async with http.get("/v1/asyncapi.html") as answer:
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "account.deposited.v1" in await answer.text()
