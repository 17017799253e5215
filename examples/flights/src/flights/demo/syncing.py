# SPDX-License-Identifier: Apache-2.0
"""Step 1: the registers into streams. A dry run first, then for real, then once more after a few rows were changed."""

from collections.abc import Mapping
from typing import Any

from flights.demo.job import Job
from flights.demo.working_copy import Edited, edit_registers

SOURCES = ("planes", "airlines", "airports")
ACTIONS = ("create", "update", "delete", "unchanged")
EXAMPLES = 2  # changes of each source that the dry run shows

Document = Mapping[str, Any]


async def sync_registers(job: Job) -> None:
    """Planes, airlines and airports."""
    dry = {source: await job.client.syncs.run(source, dry_run=True) for source in SOURCES}
    _show_counts(job, "dry run: what a sync would do", dry)
    _show_changes(job, "for example", {source: _changes(run)[:EXAMPLES] for source, run in dry.items()})
    real = {source: await job.client.syncs.run(source) for source in SOURCES}
    for source, run in real.items():
        job.expect(f"status of the sync of {source}", run["status"], "done")
        job.expect(f"sync of {source}, against its dry run", run["summary"], dry[source]["summary"])
    await _sync_changed_rows(job)


async def _sync_changed_rows(job: Job) -> None:
    edited = edit_registers(job.copy)
    again = {source: await job.client.syncs.run(source) for source in SOURCES}
    _show_counts(job, "second run, after a few rows were changed", again)
    _show_changes(job, "all that it changed", {source: _changes(run) for source, run in again.items()})
    for one in edited:
        job.expect(f"second sync of {one.source}", _edited(one.source, again[one.source]), one)


def _edited(source: str, run: Document) -> Edited:
    summary = run["summary"]
    return Edited(source, summary["create"], summary["update"], summary["delete"])


def _changes(run: Document) -> list[Document]:
    return list(run["changes"])


def _show_counts(job: Job, title: str, runs: Mapping[str, Document]) -> None:
    rows = [(source, *(run["summary"][action] for action in ACTIONS)) for source, run in runs.items()]
    job.table(title, ("source", *ACTIONS), rows, numbers=len(ACTIONS))


def _show_changes(job: Job, title: str, changes: Mapping[str, list[Document]]) -> None:
    rows = [(source, c["action"], c["key"], _difference(c)) for source, found in changes.items() for c in found]
    job.table(title, ("source", "action", "key", "difference"), rows)


def _difference(change: Document) -> str:
    """The fields that differ, before and after; of a new row what it says, of a removed one what it said."""
    before, after = change["before"] or {}, change["after"] or {}
    if not before or not after:
        return ", ".join(f"{name}={value}" for name, value in (after or before).items() if value is not None)[:70]
    names = [name for name in after if after[name] != before.get(name)]
    return ", ".join(f"{name}: {before.get(name)} → {after[name]}" for name in names)
