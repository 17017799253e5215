# SPDX-License-Identifier: Apache-2.0
"""Step 4: the monthly report, a task a month and one that joins them, and the event it is published as."""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from rich.tree import Tree

from flights.demo.job import Job
from flights.events import REPORT_TOPIC, REPORTED
from flights.reference import COUNTED

WORKFLOW = "monthly-report"
RUN_SECONDS = 60.0
EVENT_SECONDS = 20.0


async def report(job: Job) -> None:
    """Run the workflow, show its tree, and read its result from the topic."""
    started = await job.client.workflows.start(WORKFLOW, {"year": "2013"})
    run = await job.client.workflows.wait(started["run"], seconds=RUN_SECONDS)
    job.screen.print(_tree(run))
    result = run.get("result") or {}
    job.expect(f"status of run {run['run']}", run["status"], "completed")
    job.expect("months of the report", result.get("months"), _expected(job))
    columns = ("month", "departures", "cancelled", "minutes flown", "on time")
    rows = [(m, t["departures"], t["cancelled"], t["minutes_flown"], t["on_time"]) for m, t in _months(result).items()]
    job.table("the report", columns, rows, numbers=4)
    await _published(job, result)


async def _published(job: Job, result: Mapping[str, Any]) -> None:
    """The event on the topic says what the run returned."""
    try:
        async with asyncio.timeout(EVENT_SECONDS):
            async for consumed in job.client.topics.consume(REPORT_TOPIC, start="earliest"):
                if consumed.event.type == REPORTED and orjson.loads(consumed.event.data) == result:
                    where = f"{REPORT_TOPIC}, partition {consumed.partition}, offset {consumed.offset}"
                    job.screen.print(f"  published as {REPORTED} on {where}")
                    return
    except TimeoutError:
        job.problems.append(f"the report did not come on {REPORT_TOPIC} within {EVENT_SECONDS:.0f} s")


def _months(result: Mapping[str, Any]) -> Mapping[str, Mapping[str, int]]:
    months: Mapping[str, Mapping[str, int]] = result.get("months") or {}
    return months


def _expected(job: Job) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for name, counts in job.reference.months.items():
        month = found.setdefault(name.partition(" ")[0], dict.fromkeys(COUNTED, 0))
        for counted in COUNTED:
            month[counted] += counts[counted]
    return found


def _tree(run: Mapping[str, Any]) -> Tree:
    tree = Tree(f"  {run['workflow']}  {run['status']}  {run['run']}")
    for node in run["nodes"]:
        error = f"  {node['error']}" if node.get("error") else ""
        tree.add(f"{node['node']}  {node['status']}  attempt {node['attempt']}{error}")
    return tree
