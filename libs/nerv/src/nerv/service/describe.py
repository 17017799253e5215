# SPDX-License-Identifier: Apache-2.0
"""What every service says of itself at `/.well-known/nerv`, and in its heartbeat: plain data, without secrets."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from nerv.app import App
from nerv.service.health import Health
from nerv.service.settings import ServiceSettings
from nerv.service.shown import shown, without_login
from nerv.service.versions import versions
from nerv.telemetry.lags import told
from nerv.telemetry.traffic import TRAFFIC, Traffic
from nerv.types import Description, format_instant, utc_now

log = structlog.get_logger(__name__)

STATM = Path("/proc/self/statm")


@dataclass(frozen=True, slots=True)
class About:
    """What a service alone knows of a replica: what it reads and writes, which partitions it owns, figures for people."""

    settings: ServiceSettings
    app: App
    reads: Sequence[str]
    writes: Sequence[str]
    owns: Sequence[int] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


class Replica:
    """This process as a replica of its service."""

    def __init__(self, service: str, about: Callable[[], About], health: Health, traffic: Traffic = TRAFFIC) -> None:
        self.service = service
        self._about, self._health, self._traffic = about, health, traffic
        self._started, self._since = utc_now(), time.monotonic()
        self._seen: list[dict[str, Any]] = []
        self._cpu, self._busy, self._at = time.process_time(), 0.0, time.monotonic()

    @property
    def is_ready(self) -> bool:
        """Whether it takes requests."""
        return not self._health.report()

    @property
    def app(self) -> App:
        """What it hosts."""
        return self._about().app

    def look(self) -> None:
        """See how much went through, and how busy the process was, since the last look."""
        cpu, now = time.process_time(), time.monotonic()
        self._busy, self._cpu, self._at = (cpu - self._cpu) / max(now - self._at, 0.001), cpu, now
        self._seen = self._traffic.look()

    def document(self) -> dict[str, Any]:
        """All of it. What goes through is as it was at the last look."""
        about = self._about()
        return self._told(about) | {"hosts": _hosts(about.app), "settings": shown(about.settings)}

    def sign(self) -> dict[str, Any]:
        """The same without what does not change, as a sign of life."""
        return self._told(self._about())

    def _told(self, about: About) -> dict[str, Any]:
        settings = about.settings
        return {
            "service": self.service,
            "mesh": settings.mesh,
            "instance": settings.instance,
            "url": without_login(settings.http.url),
            "app": about.app.name,
            "versions": versions(settings.app),
            "health": self._health.told(),
            "started": format_instant(self._started),
            "uptime_seconds": time.monotonic() - self._since,
            "process": {"cpu": self._busy, "rss": _resident(), "pid": os.getpid()},
            "authentication": "off" if settings.insecure_dev else "on",
            "reads": list(about.reads),
            "writes": list(about.writes),
            "owns": list(about.owns),
            "figures": dict(about.figures),
            "lags": [{"group": group, "topic": topic, "lag": lag} for (group, topic), lag in sorted(told().items())],
            "traffic": self._seen,
        }

    def describe(self) -> Description:
        """The replica as data: its service, and how many ways events go in it."""
        return Description("Replica", self.service, counters={"ways": len(self._seen)})


def _hosts(app: App) -> dict[str, Any]:
    return {
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
        "bridges": sorted(app.bridges),
    }


def _resident() -> int | None:
    """Bytes of memory that the process holds; None where the system does not say."""
    try:
        return int(STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
