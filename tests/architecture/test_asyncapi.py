# SPDX-License-Identifier: Apache-2.0
"""The AsyncAPI document of an app is valid, by the official parser from npm."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

import nerv
from flights import app as flights
from nerv.app import App
from nerv.documents import asyncapi
from tests.architecture.npm import installed, run, script

HERE = Path(__file__).parent / "asyncapi"
PARSER = "3.6.6"  # of @asyncapi/parser, the first one that knows 3.1.0


@pytest.fixture(scope="module")
def parser() -> Path:
    """The program that asks the parser."""
    return script(installed(f"asyncapi-{PARSER}", f"@asyncapi/parser@{PARSER}"), HERE / "check.mjs")


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
    assert run("node", str(parser), stdin=document) == (0, "")


def test_the_parser_does_look(parser: Path) -> None:
    """A document with a fault is refused."""
    document: dict[str, Any] = asyncapi(flights)
    document["operations"]["consume-flights.flight.v1"]["channel"]["$ref"] = "#/channels/nowhere"
    code, said = run("node", str(parser), stdin=json.dumps(document))
    assert code == 1
    assert "nowhere" in said or "does not exist" in said
