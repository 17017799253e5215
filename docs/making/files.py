# SPDX-License-Identifier: Apache-2.0
"""All that is made: each file with what makes the text that it should have. Nothing is written here."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from docs.making.cheatsheet import cheatsheet
from docs.making.interfaces import asyncapi_file, openapi_file, route_table
from docs.making.marks import filled
from docs.making.topology import topology

SERVICES = ("broker", "temporal", "projector", "sync", "scheduler")
# Parts of pages, by the name in their marks.
PARTS: Mapping[str, Callable[[], str]] = {"topology": topology, "routes": route_table}


def made(root: Path) -> dict[Path, Callable[[], str]]:
    """Every file, by its path: what makes its text when it is called."""
    docs = root / "docs"
    pages = [*sorted(docs.glob("*.md")), docs / "api" / "README.md"]
    return {
        **{page: partial(_filled, page, root) for page in pages},
        docs / "cheatsheet.md": cheatsheet,
        docs / "api" / "flights.asyncapi.json": asyncapi_file,
        **{docs / "api" / f"{service}.openapi.json": partial(openapi_file, service) for service in SERVICES},
    }


def _filled(page: Path, root: Path) -> str:
    return filled(page.read_text(encoding="utf-8"), root, PARTS)
