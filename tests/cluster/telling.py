# SPDX-License-Identifier: Apache-2.0
"""What came of it, as tables."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from nerv.client.client import SERVICES
from tests.cluster.phases import NOTHING, Phase, Seen


def tell(phases: Sequence[Phase], screen: Console) -> None:
    """Both tables: what was done and how long it took, and what each service was seen to do meanwhile."""
    done = [phase for phase in phases if phase.name != NOTHING]
    screen.print(_times(done))
    disturbed = [phase for phase in done if any(seen.done or seen.failed for seen in phase.seen.values())]
    if disturbed:
        screen.print(_services(disturbed))


def _times(phases: Sequence[Phase]) -> Table:
    table = Table(title="what was done", title_justify="left", title_style="bold", header_style="dim")
    for name in ("step", "seconds", ""):
        table.add_column(name, justify="right" if name == "seconds" else "left")
    for phase in phases:
        if phase.seconds:
            table.add_row(phase.name, f"{phase.seconds:.1f}", "; ".join(phase.notes))
    return table


def _services(phases: Sequence[Phase]) -> Table:
    title = "each service under traffic, where something was done to it or it was away"
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
    table.add_column("step")
    table.add_column("service")
    for name in ("requests", "not ready (s)", "not answering (s)", "longest wait (s)"):
        table.add_column(name, justify="right")
    table.add_column("failed attempts, all repeated")
    for phase in phases:
        for service in SERVICES:
            seen = phase.seen[service]
            if (
                service in phase.name
                or "upgrade" in phase.name
                or seen.failed
                or seen.unready.total
                or seen.silent.total
            ):
                table.add_row(phase.name, service, *_row(seen))
    return table


def _row(seen: Seen) -> tuple[str, ...]:
    failed = ", ".join(f"{count} {name}" for name, count in seen.failed.most_common())
    away = (f"{one.total:.1f}" if one.total else "0" for one in (seen.unready, seen.silent))
    return (f"{seen.done:,}", *away, f"{seen.pause:.1f}", failed or "none")
