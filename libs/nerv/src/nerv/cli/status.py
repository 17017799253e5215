# SPDX-License-Identifier: Apache-2.0
"""`nerv status`."""

from typing import Any

import typer

from nerv.cli.calling import REFUSED, AsJson, call, console, say_json
from nerv.cli.listing import replicas_of
from nerv.cli.replicas import duration, faults_of, ranges, word_of, works
from nerv.cli.show import table
from nerv.client import Client
from nerv.errors import NervError

COLUMNS = ("service", "status", "instance", "up_for", "partitions", "version", "app")


def status(as_json: AsJson = False) -> None:
    """Which replicas run, whether they are well, and how far the read models are behind. Exits 1 when a service does not answer
    or a replica is not ready.
    """

    async def work(client: Client) -> dict[str, Any]:
        services, _ = await replicas_of(client)
        return {"services": services, "projections": await _projections(client)}

    found = call(work)
    if as_json:
        say_json(found)
    else:
        console().print(table("services", [_shown(row) for row in found["services"]], COLUMNS))
        for line in faults_of(found["services"]):
            console().print(line, style="yellow", markup=False)
        if found["projections"]:
            console().print(table("projections", found["projections"], ("projection", "lag", "folded", "entities")))
    if not all(works(row["status"]) for row in found["services"]):
        raise typer.Exit(REFUSED)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    if "versions" not in row:
        return {**row, "status": "away"}
    told = {
        "status": word_of(row["status"]),
        "up_for": duration(row["uptime_seconds"]),
        "version": row["versions"]["nerv"],
    }
    return {**row, **told, "partitions": ranges(row["owns"]) or None}


async def _projections(client: Client) -> list[dict[str, Any]]:
    try:
        return list(await client.views.projections())
    except NervError:
        return []  # the table of services says why
