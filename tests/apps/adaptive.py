# SPDX-License-Identifier: Apache-2.0
"""An app whose state lives in history, is folded into a view, and is kept equal with the table of a desk (`DESK_DATABASE`).

One perspective is what readers are shown, and how both sides are compared. Run services with it by `NERV_APP=adaptive:app`.
"""

import os
from typing import Annotated, Any

import nerv
import nerv.sync
from nerv.client import Client
from nerv.perspectives import Identifier, Perspective
from nerv.protocols.side import Side
from nerv.sync.sides import HistorySide
from nerv.sync.sides.sql import SqlSource
from nerv.sync.strategies import FieldMerge, SourcePriority

app = nerv.App("adaptive")

Plane = dict[str, Any]


@app.event("plane.created.v1")
class Created(nerv.Event):
    """A plane as it came."""

    tailnum: str
    model: str
    seats: int


@app.event("plane.updated.v1")
class Updated(Created):
    """A plane as it is now."""


@app.event("plane.removed.v1")
class Removed(nerv.Event):
    """A plane is gone."""

    key: str


@app.projection("plane", on=["plane.created.v1", "plane.updated.v1", "plane.removed.v1"])
def plane(state: Plane | None, event: nerv.Event) -> Plane | None:
    """The plane, and how often it was written."""
    if isinstance(event, Removed):
        return None
    return {**event.model_dump(), "writes": (state or {}).get("writes", 0) + 1}


@app.perspective("plane", "public")
class PublicPlane(Perspective):
    """What everybody may see of a plane."""

    tailnum: Annotated[str, Identifier()]
    model: str
    seats: int


class Desk(SqlSource):
    """The planes of the desk."""

    category = "desk"
    key = "tailnum"
    row = PublicPlane
    table = "planes"
    version = "version"
    feed = True

    @classmethod
    def url(cls) -> str:
        """The database."""
        return f"sqlite:///{os.environ['DESK_DATABASE']}"


@app.sync("desk")
class Planes(nerv.sync.Pair):
    """The desk knows the seats; of the model nobody knows better."""

    perspective = PublicPlane
    direction = nerv.sync.Direction.BOTH
    strategy = FieldMerge({"seats": SourcePriority("left")})

    def left(self, mesh: Client) -> Side:
        """The table."""
        return Desk()

    def right(self, mesh: Client) -> Side:
        """The streams."""
        return HistorySide(mesh.streams, "plane", writer="nerv:sync:desk")
