# SPDX-License-Identifier: Apache-2.0
"""`nerv status`."""

import asyncio
from typing import Any

import typer

from nerv.cli.calling import REFUSED, AsJson, call, console, say_json
from nerv.cli.replicas import UP, duration, ranges, status_of
from nerv.cli.show import table
from nerv.client import Client
from nerv.errors import NervError

COLUMNS = ("service", "status", "instance", "up_for", "partitions", "version", "app")


def status(as_json: AsJson = False) -> None:
    """Which replicas run, whether they are well, and how far the read models are behind. Exits 1 when a service does not answer
    or a replica is not ready.
    """

    async def work(client: Client) -> dict[str, Any]:
        return {"services": await _services(client), "projections": await _projections(client)}

    found = call(work)
    if as_json:
        say_json(found)
    else:
        console().print(table("services", [_shown(row) for row in found["services"]], COLUMNS))
        if found["projections"]:
            console().print(table("projections", found["projections"], ("projection", "lag", "folded", "entities")))
    if any(row["status"] != UP for row in found["services"]):
        raise typer.Exit(REFUSED)


async def _services(client: Client) -> list[dict[str, Any]]:
    """Every replica; and each service of which none says that it is alive, as it answers itself."""
    try:
        replicas = await client.mesh()
    except NervError:
        replicas = []  # without Redis nobody knows them all: each service is asked
    seen = {replica["service"] for replica in replicas}
    unseen = [name for name in client.transport.services if name not in seen]
    answers = await asyncio.gather(*(_asked(client, name) for name in unseen))
    rows = [{**replica, "status": status_of(replica)} for replica in replicas]
    return [*rows, *(row for row in answers if row is not None)]


async def _asked(client: Client, name: str) -> dict[str, Any] | None:
    try:
        told = await client.about(name)
    except NervError as error:
        return {"service": name, "status": error.detail, "url": client.transport.url(name)}
    if told["service"] != name:
        return None  # one address stands for all services, and leads to others
    return {**told, "status": status_of(told)}


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    if "versions" not in row:
        return row
    up_for, partitions = duration(row["uptime_seconds"]), ranges(row["owns"])
    return {**row, "up_for": up_for, "partitions": partitions or None, "version": row["versions"]["nerv"]}


async def _projections(client: Client) -> list[dict[str, Any]]:
    try:
        return list(await client.views.projections())
    except NervError:
        return []  # the table of services says why
