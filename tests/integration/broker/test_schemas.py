# SPDX-License-Identifier: Apache-2.0
"""The registry of schemas on a real Kafka: registered at start, checked, raced for, and kept over restarts."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.errors import Conflict, Invalid, NotFound, Unavailable
from nerv.schemas import Format, Schema, schema_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

APPS = Path(__file__).parent.parent.parent / "apps"


def schema(subject: str, **properties: str) -> Schema:
    """An object whose properties have these types; those with capital letters are required."""
    document = {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": [name for name in properties if name.isupper()],
    }
    return schema_of(subject, Format.JSON, orjson.dumps(document))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(kafka: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMesh]:
    """Two brokers with the ledger app."""
    async with LocalMesh(
        app="ledger:app",
        services=["temporal", "broker"],
        replicas={"broker": 2},
        folder=tmp_path_factory.mktemp("schemas") / ".nerv",
        mesh=f"t{uuid.uuid4().hex[:8]}",
        kafka=kafka,
        redis=redis_url,
        env={"PYTHONPATH": str(APPS), "LEDGER_TOPICS": f"ledger-{uuid.uuid4().hex[:8]}"},
    ) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clients(pair: LocalMesh) -> AsyncIterator[tuple[Client, Client]]:
    """A client of each broker."""
    async with Client({"broker": pair.url("broker")}) as one, Client({"broker": pair.url("broker-2")}) as two:
        yield one, two


async def seen(client: Client, subject: str, count: int) -> list[dict[str, Any]]:
    """The versions of a subject, once there are so many."""
    async with asyncio.timeout(10):
        while True:
            try:
                found = await client.schemas.versions(subject)
            except NotFound:
                found = []
            if len(found) >= count:
                return found
            await asyncio.sleep(0.05)


async def test_a_broker_registers_its_events_and_the_messages_once(clients: tuple[Client, Client]) -> None:
    """Both replicas started with the same release: each subject has one version, and its schema is the model's."""
    for client in clients:
        versions = await seen(client, "account.deposited.v1", 1)
        assert [(v["version"], v["registered_by"]) for v in versions] == [(1, "nerv:ledger")]
        found = await client.schemas.show("account.deposited.v1")
        assert found["schema"]["required"] == ["account", "amount"]
        message = await client.schemas.show("nerv.api.history.v1.AppendBatch")
        assert message["format"] == "protobuf"


async def test_a_new_version_is_seen_by_the_other_replica(clients: tuple[Client, Client]) -> None:
    """And the same schema again, sent to the other one, is the same version."""
    one, two = clients
    first, second = schema("a.made.v1", a="integer"), schema("a.made.v1", a="integer", b="string")
    assert (await one.schemas.register(first))["version"] == 1
    await seen(two, "a.made.v1", 1)
    assert (await two.schemas.register(second, dry_run=True))["registered"] is False
    assert len(await two.schemas.versions("a.made.v1")) == 1, "a dry run changes nothing"
    assert (await two.schemas.register(second))["version"] == 2
    assert (await one.schemas.register(first))["version"] == 1
    assert len(await seen(one, "a.made.v1", 2)) == 2


async def test_what_does_not_suit_is_refused_with_the_path(clients: tuple[Client, Client]) -> None:
    """Nothing is registered then."""
    one, _ = clients
    await one.schemas.register(schema("b.made.v1", a="integer"))
    with pytest.raises(Conflict, match="/B: is required") as refused:
        await one.schemas.register(schema("b.made.v1", a="integer", B="string"))
    assert refused.value.errors[0]["path"] == "/B"
    assert len(await one.schemas.versions("b.made.v1")) == 1


async def test_two_replicas_cannot_both_register_what_does_not_suit_the_other(
    clients: tuple[Client, Client],
) -> None:
    """Ten races between schemas that exclude each other: one version each time, and the loser is told."""
    for number in range(10):
        subject = f"race{number}.made.v1"
        outcomes = await asyncio.gather(
            clients[0].schemas.register(schema(subject, a="integer")),
            clients[1].schemas.register(schema(subject, a="string")),
            return_exceptions=True,
        )
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict", "dict"], outcomes
        assert len(await seen(clients[0], subject, 1)) == 1


async def test_schemas_survive_the_brokers(pair: LocalMesh, clients: tuple[Client, Client]) -> None:
    """A broker that was killed has them again, and its own are not registered twice."""
    made = await clients[0].schemas.register(schema("c.made.v1", a="integer"))
    await pair.kill("broker-2")
    await pair.restart("broker-2")
    async with Client({"broker": pair.url("broker-2")}) as client:
        assert (await client.schemas.show("c.made.v1"))["id"] == made["id"]
        assert len(await client.schemas.versions("account.deposited.v1")) == 1


async def test_an_app_whose_events_no_longer_suit_is_not_hosted(
    pair: LocalMesh, clients: tuple[Client, Client], kafka: str, redis_url: str, tmp_path: Path
) -> None:
    """The broker refuses to start, and says which field of which event, and what to do."""
    await seen(clients[0], "account.deposited.v1", 1)
    changed = LocalMesh(
        app="renamed_ledger:app",
        services=["broker"],
        folder=tmp_path / ".nerv",
        mesh=pair.mesh,
        kafka=kafka,
        redis=redis_url,
        env={"PYTHONPATH": str(APPS)},
    )
    with pytest.raises(Unavailable, match=r"version 1: /amount: must be string, and was integer\. Make the change"):
        async with changed:
            pass
    assert len(await clients[0].schemas.versions("account.deposited.v1")) == 1


@pytest.mark.parametrize(
    ("body", "query", "error", "words"),
    [
        (b"{", {}, Invalid, "no JSON"),
        (b"[]", {}, Invalid, "JSON object"),
        (b'{"type": "txt"}', {}, Invalid, "no JSON Schema"),
        (b"{}", {"format": "avro"}, Invalid, "json or protobuf"),
        (b"{}", {"format": "protobuf"}, Invalid, "no protobuf message"),
        (b"{}", {"dry_run": "perhaps"}, Invalid, "dry_run"),
    ],
)
async def test_bad_schemas_are_refused(
    clients: tuple[Client, Client], body: bytes, query: dict[str, str], error: type[Exception], words: str
) -> None:
    """With what is wrong, and nothing is registered."""
    with pytest.raises(error, match=words):
        await clients[0].transport.request("broker", "POST", "/v1/schemas/bad.made.v1", query=query, body=body)
    with pytest.raises(NotFound):
        await clients[0].schemas.versions("bad.made.v1")


@pytest.mark.parametrize("version", ["0", "2", "x", "-1", "9" * 30])
async def test_versions_that_are_not_there(clients: tuple[Client, Client], version: str) -> None:
    """Are said to be so."""
    with pytest.raises((Invalid, NotFound)):
        await clients[0].schemas.show("account.deposited.v1", version)
