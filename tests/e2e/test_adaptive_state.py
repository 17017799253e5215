# SPDX-License-Identifier: Apache-2.0
"""Adaptive state management as docs/adaptive-state.md tells it: the page's own app and program, and a person who decides."""

import asyncio
import os
import sys
import uuid
from pathlib import Path
from typing import Any

import orjson
import pytest

from nerv.dev.mesh import LocalMesh
from tests.e2e.pages import program, walk

PAGE = Path(__file__).parent.parent.parent / "docs" / "adaptive-state.md"
NERV = Path(sys.executable).with_name("nerv")
SECONDS = 120.0


async def test_desk_history_and_view_follow_each_other(
    kafka: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program of the page checks both sides, the view, the journal and the past itself; the person looks before what is
    planned is done.
    """
    program(PAGE, "adaptive.py", tmp_path)
    monkeypatch.setenv("DESK_DATABASE", str(tmp_path / "desk.db"))
    mesh = LocalMesh(
        app="adaptive:app",
        services=["temporal", "projector", "sync"],
        folder=tmp_path / ".nerv",
        mesh=f"t{uuid.uuid4().hex[:8]}",
        kafka=kafka,
        redis=redis_url,
        env={"PYTHONPATH": str(tmp_path), "DESK_DATABASE": str(tmp_path / "desk.db")},
    )
    async with mesh, asyncio.timeout(SECONDS):
        walking = asyncio.create_task(walk(tmp_path))
        [waiting] = await asked(tmp_path, walking)
        await nerv(tmp_path, "sync", "conflicts", "decide", "desk", waiting["conflict"], "left")
        plan = orjson.loads(await nerv(tmp_path, "sync", "plan", "desk", "--json"))
        assert [(c["side"], c["key"], c["after"]["model"]) for c in plan["changes"]] == [("right", "N3", "A319")]
        assert b"not approved" in await nerv(tmp_path, "sync", "show", "desk", plan["plan"])
        await nerv(tmp_path, "sync", "approve", "desk", plan["plan"])
        assert b"done" in await nerv(tmp_path, "sync", "apply", "desk", plan["plan"])
        assert await walking == "desk, history and view agree"
        assert b"planned" in await nerv(tmp_path, "sync", "history", "desk")


async def asked(folder: Path, walking: "asyncio.Task[str]") -> list[dict[str, Any]]:
    """The conflicts that wait for a person, as soon as the table is there and the run that found them is over."""
    while True:
        if walking.done():
            await walking  # says why
        code, out, _ = await typed(folder, "sync", "conflicts", "list", "desk", "--json")
        found: list[dict[str, Any]] = orjson.loads(out) if code == 0 else []
        if found:
            runs = orjson.loads(await nerv(folder, "sync", "history", "desk", "--json"))
            if all(run["status"] != "running" for run in runs):
                return found


async def nerv(folder: Path, *words: str) -> bytes:
    """What a command answers; that it succeeds."""
    code, out, error = await typed(folder, *words)
    assert code == 0, error.decode()
    return out


async def typed(folder: Path, *words: str) -> tuple[int | None, bytes, bytes]:
    """How a command ends, and what it says."""
    process = await asyncio.create_subprocess_exec(
        str(NERV), *words, cwd=folder, env={**os.environ, "COLUMNS": "160"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, error = await process.communicate()
    return process.returncode, out, error
