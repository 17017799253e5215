# SPDX-License-Identifier: Apache-2.0
"""The app of the suite: two registries that are kept equal in both directions, parents before children; two kinds of objects, one
under the other, that follow; and a collection of pages that leads.
"""

import os
from typing import ClassVar

import nerv
import nerv.sync
from nerv.client import Client
from nerv.protocols.side import Row, Side
from nerv.sync.sides.http import HttpSource
from nerv.sync.sides.http.asking import Bounds
from nerv.sync.strategies import FieldMerge, LastWriter
from tests.faults.sync.registry import RegistrySide

app = nerv.App("fleet")


@app.sync("fleet")
class Fleet(nerv.sync.Pair):
    """Field by field, the last writer wins."""

    identifiers = ("key",)
    direction = nerv.sync.Direction.BOTH
    strategy = FieldMerge(otherwise=LastWriter())

    def left(self, mesh: Client) -> Side:
        """One registry."""
        return RegistrySide("hangar", os.environ["HANGAR_URL"])

    def right(self, mesh: Client) -> Side:
        """The other one."""
        return RegistrySide("office", os.environ["OFFICE_URL"])

    def parent(self, row: Row) -> str | None:
        """What it hangs under."""
        found: str | None = row["above"]
        return found


class Followed(nerv.sync.Pair):
    """What leads in one registry, and what follows in another."""

    identifiers = ("key",)
    kind: ClassVar[str]

    def left(self, mesh: Client) -> Side:
        """What leads."""
        return RegistrySide(f"{self.kind}.left", os.environ[f"{self.kind.upper()}_LEFT_URL"])

    def right(self, mesh: Client) -> Side:
        """What follows."""
        return RegistrySide(f"{self.kind}.right", os.environ[f"{self.kind.upper()}_RIGHT_URL"])


@app.sync("halls")
class Halls(Followed):
    """Halls, in which bays are."""

    kind = "halls"


@app.sync("bays")
class Bays(Followed):
    """Bays, which another sync keeps than the halls that they are in."""

    kind = "bays"
    under = "halls"


@app.source("racks")
class Racks(HttpSource):
    """Pages; the identifiers of two racks would be one if they were joined by `__`."""

    category = "rack"
    key = ("site", "rack")
    url = os.environ.get("RACKS_URL", "http://127.0.0.1:9/racks")
    total = "total"
    bounds = Bounds(seconds=3.0)
