# SPDX-License-Identifier: Apache-2.0
"""All that is made: each file with the text that it should have. Nothing is written here."""

from collections.abc import Callable, Mapping
from pathlib import Path

from docs.making.cheatsheet import cheatsheet
from docs.making.interfaces import asyncapi_file, openapi_file, route_table
from docs.making.marks import filled
from docs.making.topology import topology

SERVICES = ("broker", "temporal", "projector", "sync", "scheduler")
# Parts of pages, by the name in their marks.
PARTS: Mapping[str, Callable[[], str]] = {"topology": topology, "routes": route_table}


def made(root: Path) -> dict[Path, str]:
    """Every file, by its path."""
    docs = root / "docs"
    pages = {path: filled(path.read_text(encoding="utf-8"), root, PARTS) for path in sorted(docs.glob("*.md"))}
    return {
        **pages,
        docs / "cheatsheet.md": cheatsheet(),
        docs / "api" / "README.md": filled((docs / "api" / "README.md").read_text(encoding="utf-8"), root, PARTS),
        docs / "api" / "flights.asyncapi.json": asyncapi_file(),
        **{docs / "api" / f"{service}.openapi.json": openapi_file(service) for service in SERVICES},
    }
