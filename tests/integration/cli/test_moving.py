# SPDX-License-Identifier: Apache-2.0
"""A mesh moves to another name with more partitions, as docs/operations.md says; so it is restored from an archive, too."""

import asyncio
import json
import os
import sys
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.errors import NotFound, Unavailable
from nerv.types import Event, parse_instant

APPS = Path(__file__).parent.parent.parent / "apps"
NERV = Path(sys.executable).with_name("nerv")
AT = parse_instant("2013-01-15T12:00Z", "at")
ACCOUNTS = ("ann", "bob", "cid", "dan", "eve")
PAGE = (Path(__file__).parents[3] / "docs" / "operations.md").read_text(encoding="utf-8")


async def nerv(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run a command that stands on the page; its code, and what it answered, or why it did not."""
    process = await asyncio.create_subprocess_exec(
        str(NERV), *arguments, cwd=folder, env={**os.environ, "PYTHONPATH": str(APPS), **environment},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, error = await process.communicate()
    code = process.returncode or 0
    return code, (error if code else out).decode()


async def all_of(client: Client) -> list[tuple[Any, ...]]:
    """The events of all accounts, in order of each stream."""
    found = [(e.stream, e.sequence, e.id, e.time, e.data) async for e in client.streams.read_category("account")]
    return sorted(found, key=lambda one: (one[0], one[1]))


async def deposits(client: Client, topic: str, numbers: Sequence[int]) -> None:
    """Publish some, and wait until the reaction has brought all there are so far into history."""
    events = [
        Event(f"{name}-{n}", "test", "account.deposited.v1", AT, json.dumps({"account": name, "amount": n}).encode())
        for n in numbers
        for name in ACCOUNTS
    ]
    await client.topics.publish(topic, events)
    async with asyncio.timeout(60):
        while len(await all_of(client)) < len(ACCOUNTS) * (numbers[-1] + 1):  # noqa: ASYNC110 - another process does it
            await asyncio.sleep(0.1)


async def shown(client: Client, expected: dict[str, int]) -> None:
    """Until the view of ann is this one; at first there is none."""
    async with asyncio.timeout(60):
        while True:
            with suppress(NotFound, Unavailable):
                if (await client.views.get("account", "ann"))["state"] == expected:
                    return
            await asyncio.sleep(0.1)


async def test_a_mesh_moves_to_more_partitions(kafka: str, redis_url: str, tmp_path: Path) -> None:
    """Every event has its stream, version and id there; views are the same; reactions go on where they stood, and do nothing
    twice. Adding partitions to what there is is refused.
    """
    prefix, name = f"ledger-{uuid.uuid4().hex[:8]}", f"t{uuid.uuid4().hex[:8]}"
    old, new, topic = f"{name}a", f"{name}b", f"{prefix}.account.v1"
    shared = {"PYTHONPATH": str(APPS), "LEDGER_TOPICS": prefix}
    straight = {**shared, "NERV_KAFKA__BOOTSTRAP_SERVERS": kafka}
    archive = str(tmp_path / "history.ndjson.zst")

    def mesh(name: str, services: Sequence[str], **more: str) -> LocalMesh:
        return LocalMesh(
            app="ledger:app", services=services, folder=tmp_path / name / ".nerv", mesh=name, kafka=kafka,
            redis=redis_url, env=shared | more,
        )  # fmt: skip

    async with mesh(old, ["temporal", "broker"]) as first:
        async with Client({one: first.url(one) for one in ("temporal", "broker")}) as client:
            await deposits(client, topic, range(20))
            before = await all_of(client)
            async with asyncio.timeout(60):
                while (await client.topics.about(topic))["lag"].get(f"{old}.broker") != 0:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        refused = await nerv(
            tmp_path, "topics", "create", "--app", "ledger:app", **straight, NERV_MESH=old, NERV_PARTITIONS="6"
        )
        assert (refused[0], "has 4 partitions, not 6; keys would move" in refused[1]) == (2, True)
        await first.kill("broker")
        exported = await nerv(first.folder.parent, "history", "export", archive)
        assert exported[0] == 0, exported[1]

    groups = (f"{old}.broker", f"{new}.broker")
    code, said = await nerv(tmp_path, "topics", "carry-on", *groups, "--json", **straight)
    assert (code, list(json.loads(said))) == (0, [topic]), said  # those of its partitions that have any events
    async with mesh(new, ["temporal", "broker", "projector"], NERV_PARTITIONS="6") as second:
        imported = await nerv(second.folder.parent, "history", "import", archive)
        assert imported[0] == 0, imported[1]
        async with Client({one: second.url(one) for one in ("temporal", "broker", "projector")}) as client:
            assert await all_of(client) == before
            await deposits(client, topic, range(20, 21))
            after = await all_of(client)
            assert [one for one in after if one in before] == before
            assert len(after) == len(before) + len(ACCOUNTS)
            expected = {"balance": sum(range(21)), "deposits": 21}
            await shown(client, expected)
    for command in ("nerv topics create", "nerv topics carry-on", "nerv history export", "nerv history import"):
        assert command in PAGE
