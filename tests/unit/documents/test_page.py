# SPDX-License-Identifier: Apache-2.0
"""The page of a document."""

from enum import Enum

from pydantic import Field

import nerv
from nerv.documents import asyncapi, page
from nerv.documents.page import fields


class Side(Enum):
    """Where."""

    LEFT = "left"
    RIGHT = "right"


class Gate(nerv.Event):
    """A gate <of> an airport."""

    name: str
    side: Side | None = None


def made() -> nerv.App:
    """An app with one event."""
    app = nerv.App("gates")

    @app.event("gate.opened.v1", topic="gates.gate.v1", key="name")
    class Opened(nerv.Event):
        """A gate has <opened>."""

        name: str
        gates: list[Gate]
        notes: dict[str, int] = Field(default_factory=dict)

    @app.on("gate.opened.v1")
    def look(event: Opened) -> None:
        """Somebody looks."""

    return app


def test_every_field_is_shown_with_its_path_and_type() -> None:
    """Nested ones, too."""
    document = asyncapi(made())
    found = {path: (kind, needed) for path, kind, needed, _ in fields(document, {"$ref": "#/x/gate.opened.v1"})}
    assert found == {
        "name": ("string", True),
        "gates": ("list of Gate", True),
        "gates.name": ("string", True),
        "gates.side": ("'left', 'right' or null", False),
        "notes": ("mapping to integer", False),
    }


def test_a_topic_of_the_mesh_that_is_reacted_to_is_a_channel() -> None:
    """By its full name, with the events that are read there."""
    app = made()
    app.event("gates.changed.v1")(Gate)
    app.on("gates.changed.v1", topic="changes:gates")(lambda event: None)
    document = asyncapi(app, "air")
    assert list(document["channels"]["air.changes.gates.v1"]["messages"]) == ["gates.changed.v1"]
    assert "gates.changed.v1" in document["components"]["messages"]


def test_a_page_shows_topics_events_and_reactions_and_no_markup_of_the_app() -> None:
    """What an app writes is text."""
    text = page(asyncapi(made()))
    for part in ("gates.gate.v1", "gate.opened.v1", "Somebody looks.", "A gate has &lt;opened&gt;.", "gates.side"):
        assert part in text
    assert "<opened>" not in text
