# SPDX-License-Identifier: Apache-2.0
"""A whole mesh describes itself: all five services, over HTTP and on the command line."""

import asyncio
import json
import os
import pty
import re
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from nerv import Client
from nerv.client.client import SERVICES
from nerv.dev.mesh import LocalMesh
from nerv.topology import Difference, Way
from nerv.types import Event, new_event_id, utc_now

pytestmark = pytest.mark.asyncio(loop_scope="module")

APPS = Path(__file__).parent.parent.parent / "apps"
PAGE = Path(__file__).parent.parent.parent.parent / "docs" / "introspection.md"
NERV = Path(sys.executable).with_name("nerv")
PATIENCE = 60
REPLICAS = {*SERVICES, "projector-2"}


@pytest.fixture(scope="module")
def prefix() -> str:
    """What the topics of this module's app begin with."""
    return f"shop-{uuid.uuid4().hex[:8]}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(
    kafka: str, redis_url: str, prefix: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LocalMesh]:
    """All five services, with secrets in their settings that nobody may be told."""
    folder = tmp_path_factory.mktemp("mesh")
    async with LocalMesh(
        app="shop:app", services=SERVICES, replicas={"projector": 2}, folder=folder / ".nerv",
        mesh=f"t{uuid.uuid4().hex[:8]}", kafka=kafka, redis=redis_url,
        env={
            "PYTHONPATH": str(APPS), "SHOP_TOPICS": prefix, "SHOP_FOLDER": str(folder),
            **{f"NERV_{one}__HTTP_ALLOW": '["https://me:hunter2@x.example/"]' for one in ("SCHEDULER", "BROKER")},
        },
    ) as running:  # fmt: skip
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(mesh: LocalMesh) -> AsyncIterator[Client]:
    """A client of the mesh."""
    async with Client({name: mesh.url(name) for name in mesh.services}) as made:
        yield made


async def nerv(mesh: LocalMesh, *arguments: str) -> tuple[int, str]:
    """Run the command in the mesh's folder: how it ended, and what it printed."""
    process = await asyncio.create_subprocess_exec(
        str(NERV), *arguments, cwd=mesh.folder.parent, env={**os.environ, "COLUMNS": "80", "PYTHONPATH": str(APPS)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    return process.returncode or 0, (out or err).decode()


async def test_all_five_services_say_what_they_are(client: Client) -> None:
    """What they host, read and write, whether they are well, what they run; and no secret of their settings."""
    for service in SERVICES:
        told = await well(client, service)
        assert (told["service"], told["app"], told["authentication"]) == (service, "shop", "off")
        assert told["health"] == {"status": "ok", "phase": "running", "faults": {}}
        assert service == "sync" or (told["reads"] and told["writes"])  # the app has nothing to synchronise
        assert told["hosts"]["reactions"] == ["confirm", "tally"]
        assert told["versions"]["packages"]["redis"]
        assert told["settings"]["kafka"]["bootstrap_servers"]
        assert "hunter2" not in json.dumps(told)
        if service in ("scheduler", "broker"):
            assert told["settings"][service]["http_allow"] == ["https://***@x.example/"]


async def well(client: Client, service: str) -> dict[str, Any]:
    """What a service says of itself, once it has no fault: replicas that join have partitions move."""
    async with asyncio.timeout(PATIENCE):
        while (told := await client.about(service))["health"]["status"] != "ok":  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    return told


async def test_every_replica_is_listed_by_whoever_is_asked(client: Client) -> None:
    """Those of one service, too, which share the partitions; and nobody is forgotten."""
    async with asyncio.timeout(PATIENCE):
        while _health(await client.mesh()) != dict.fromkeys(REPLICAS, "ok"):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        for service in SERVICES:
            while await _listed(client, service) != REPLICAS:  # noqa: ASYNC110 - a sign of life may be late
                await asyncio.sleep(0.1)
    async with asyncio.timeout(PATIENCE):
        while _owned(await client.mesh(), "projector") != [0, 1, 2, 3]:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def _listed(client: Client, service: str) -> set[str]:
    """The replicas that a service knows."""
    answer = await client.transport.request(service, "GET", "/v1/mesh")
    return {one["instance"] for one in answer.json()["replicas"]}


def _health(replicas: list[dict[str, Any]]) -> dict[str, str]:
    """Whether each replica is well."""
    return {one["instance"]: one["health"]["status"] for one in replicas}


def _owned(replicas: list[dict[str, Any]], service: str) -> list[int]:
    """The partitions that replicas of a service own, in order; one that two own is there twice."""
    return sorted(partition for one in replicas if one["service"] == service for partition in one["owns"])


async def seen(client: Client, enough: Callable[[dict[tuple[str, str], Way]], bool]) -> dict[tuple[str, str], Way]:
    """The ways of the mesh, once they are enough."""
    async with asyncio.timeout(PATIENCE):
        while True:
            ways = [Way.from_dict(way) for way in (await client.topology())["ways"]]
            found = {way.ends: way for way in ways}
            if enough(found):
                return found
            await asyncio.sleep(0.2)


async def test_topology_shows_where_events_went(client: Client, prefix: str) -> None:
    """Through the broker, its reactions and bridges into history; what did not happen was never seen."""
    orders = f"topic:{prefix}.order.v1"
    names = ["mailed-ann", "bob", "cid"]
    events = [
        Event(
            new_event_id(), "test", "shop.ordered.v1", utc_now(), json.dumps({"customer": name}).encode(), subject=name
        )
        for name in names
    ]
    await client.subscriptions.make("billing", {"topic": f"{prefix}.order.v1", "from": "earliest"})
    await client.topics.publish(f"{prefix}.order.v1", events)
    counts = {
        ("service:broker", orders): 3,
        (orders, "reaction:confirm"): 3,
        ("reaction:confirm", "category:customer"): 3,
        ("reaction:confirm", f"topic:{prefix}.confirmed.v1"): 3,
        ("reaction:confirm", "effect:shop.mail"): 1,
        (orders, "bridge:orders-out"): 3,
        ("bridge:orders-out", "stream:warehouse"): 3,
        ("stream:warehouse", "bridge:orders-in"): 3,
        ("bridge:heard", "bus:shop"): 3,
        (orders, "group:billing"): 3,
    }
    ways = await seen(client, lambda ways: all(ends in ways and ways[ends].count >= n for ends, n in counts.items()))
    assert (
        ways["service:broker", orders].count == 3
    )  # the others are at least once, should Kafka share out anew meanwhile
    assert all(ways[ends].differs is None for ends in counts)
    assert ways["service:broker", f"topic:{prefix}.confirmed.v1"].differs is Difference.UNSEEN


async def test_every_command_of_the_page_can_be_typed(mesh: LocalMesh) -> None:
    """docs/introspection.md: each as it stands there, with what it is to say; one says by its code that something differs."""
    said = {
        "status": [*REPLICAS, "partitions"],
        "status --json": ['"phase":"running"'],
        "top --once": [
            "nerv top  ",
            "projector-2",
            "6 of 6 replicas up",
            "tasks      default: 0 taken",
            "no workflow has run lately",
        ],
        "top --json": ['"queue":"default"', '"faults":'],
        "topology": ["reaction confirm", "→ category customer  ", "never seen"],
        "topology --json": ['"to":"reaction:confirm"'],
        "topology --mermaid": ["flowchart LR\n", "reaction_confirm"],
        "topology --declared --app shop:app": ["topic shop.order.v1", "→ reaction confirm  shop.ordered.v1"],
        "topology --mermaid --declared --app shop:app": ["flowchart LR\n"],
        "topology --differs": ["never seen"],
    }
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert re.findall(r"^\$ nerv (.+?)(?: +#.*)?$", "".join(blocks), re.M) == list(said)
    for line, words in said.items():
        out = await _said(mesh, line, words)
        assert "--json" in line or "--mermaid" in line or max(map(len, out.splitlines())) <= 80


async def _said(mesh: LocalMesh, line: str, words: list[str]) -> str:
    """What a command says, once it says all that: a replica whose sign of life is late is not shown at the first look."""
    async with asyncio.timeout(PATIENCE):
        while True:
            code, out = await nerv(mesh, *line.split())
            if all(word in out for word in words) and code == (1 if "--differs" in line else 0):
                return out


async def test_top_lives_in_a_terminal_until_q(mesh: LocalMesh) -> None:
    """It shows the mesh, another page on tab, and leaves the terminal as it was."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    process = await asyncio.create_subprocess_exec(
        str(NERV), "top", cwd=mesh.folder.parent, stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
    )  # fmt: skip
    shown = bytearray()

    async def until(text: bytes) -> None:
        async with asyncio.timeout(PATIENCE):
            while text not in shown:
                try:
                    shown.extend(os.read(ours, 65_536))
                except BlockingIOError:
                    await asyncio.sleep(0.05)
        shown.clear()

    try:
        await until(b"page: all")
        os.write(ours, b"\t")
        await until(b"page: replicas")
        os.write(ours, b"s")
        await until(b"sort: cpu")
        os.write(ours, b"q")
        async with asyncio.timeout(PATIENCE):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(ours)
        os.close(theirs)
