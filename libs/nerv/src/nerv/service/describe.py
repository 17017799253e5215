# SPDX-License-Identifier: Apache-2.0
"""What every service says of itself at `/.well-known/nerv`: plain data, without secrets."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from nerv.app import App
from nerv.service.settings import ServiceSettings


def describe(
    service: str,
    settings: ServiceSettings,
    app: App,
    *,
    reads: Sequence[str],
    writes: Sequence[str],
    owns: Sequence[int] = (),
) -> dict[str, Any]:
    """The document of one replica: what it hosts, reads, writes and owns."""
    return {
        "service": service,
        "version": version("nerv-mesh"),
        "mesh": settings.mesh,
        "instance": settings.instance,
        "url": settings.http.url,
        "app": app.name,
        "reads": list(reads),
        "writes": list(writes),
        "owns": list(owns),
        "hosts": {
            "events": sorted(app.events),
            "upcasters": {source: app.latest(source) for source in sorted(app.upcasters)},
            "reactions": sorted(app.reactions),
            "deciders": sorted(app.deciders),
            "projections": sorted(app.projections),
            "tasks": sorted(app.tasks),
            "workflows": sorted(app.workflows),
            "schedules": sorted(app.schedules),
            "sources": sorted(app.sources),
            "syncs": sorted(app.syncs),
        },
        "authentication": "off" if settings.insecure_dev else "on",
    }
