# SPDX-License-Identifier: Apache-2.0
"""Two brokers share the work; when one is killed the other goes on, and no effect is lost or repeated."""

import asyncio
import json
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.errors import Forbidden
from nerv.types import Event, new_event_id

APPS = Path(__file__).parent.parent.parent / "apps"


def deposit(number: int) -> Event[bytes]:
    """A deposit for one of eight accounts."""
    data = json.dumps({"account": f"r{number % 8}", "amount": number}).encode()
    return Event(new_event_id(), "test", "account.deposited.v1", datetime(2013, 1, 15, tzinfo=UTC), data)


def tokens(folder: Path) -> dict[str, str]:
    """Settings by which `caller` may publish and read, and the services may what they need."""
    known = {
        "caller": ["topics:publish", "streams:read"],
        "services": ["publications:write", "streams:*", "topics:*", "workflows:*"],
    }
    rows = [{"token": name, "subject": name, "scopes": scopes} for name, scopes in known.items()]
    (folder / "tokens.json").write_text(json.dumps(rows))
    (folder / "token").write_text("services")
    return {
        "NERV_AUTH__TOKENS_FILE": str(folder / "tokens.json"),
        "NERV_CLIENT__TOKEN_FILE": str(folder / "token"),
    }


async def test_a_replica_takes_over_what_the_killed_one_had(kafka: str, redis_url: str, tmp_path: Path) -> None:
    """Events published through both, one killed in the middle: each account has its deposits once and in order.

    Tokens are checked, so that one hands over to the other in its own name; whoever publishes cannot hand over himself.
    """
    prefix = f"ledger-{uuid.uuid4().hex[:8]}"
    topic = f"{prefix}.account.v1"
    mesh = LocalMesh(
        app="ledger:app",
        services=["temporal", "broker"],
        replicas={"broker": 2},
        folder=tmp_path / ".nerv",
        mesh=f"t{uuid.uuid4().hex[:8]}",
        kafka=kafka,
        redis=redis_url,
        env={"PYTHONPATH": str(APPS), "LEDGER_TOPICS": prefix, **tokens(tmp_path)},
    )
    events = [deposit(number) for number in range(800)]
    async with mesh:
        urls = {"temporal": mesh.url("temporal"), "broker": mesh.url("broker")}
        others = urls | {"broker": mesh.url("broker-2")}
        async with Client(urls, token="caller") as one, Client(others, token="caller") as two:  # noqa: S106
            with pytest.raises(Forbidden, match="publications:write"):
                await one.transport.request("broker", "POST", "/v1/publications", body=b"")
            for start in range(0, 800, 100):
                await (one, two)[start // 100 % 2].topics.publish(topic, events[start : start + 100])
                if start == 300:
                    await mesh.kill("broker-2")
                    two = one
            async with asyncio.timeout(60):
                while len([e async for e in one.streams.read_category("account")]) < 800:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            for account in range(8):
                found = [json.loads(e.data)["amount"] async for e in one.streams.read(f"account-r{account}")]
                assert found == [number for number in range(800) if number % 8 == account]
