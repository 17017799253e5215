# SPDX-License-Identifier: Apache-2.0
"""`nerv status`."""

import asyncio
from typing import Any

import typer

from nerv.cli.calling import REFUSED, AsJson, call, console, say_json
from nerv.cli.show import table
from nerv.client import Client
from nerv.client.client import SERVICES
from nerv.errors import Misconfigured, NervError


def status(as_json: AsJson = False) -> None:
    """Which services answer, what they host, and how far the read models are behind. Exits 1 when one does not answer."""

    async def work(client: Client) -> dict[str, Any]:
        rows = await asyncio.gather(*(_service(client, name) for name in SERVICES))
        return {"services": [row for row in rows if row is not None], "projections": await _projections(client)}

    found = call(work)
    if as_json:
        say_json(found)
    else:
        columns = ("service", "status", "url", "instance", "app")
        console().print(table("services", found["services"], columns))
        if found["projections"]:
            console().print(table("projections", found["projections"], ("projection", "lag", "folded", "entities")))
    if any(row["status"] != "up" for row in found["services"]):
        raise typer.Exit(REFUSED)


async def _service(client: Client, name: str) -> dict[str, Any] | None:
    try:
        url = client.transport.url(name)
    except Misconfigured:
        return None  # this mesh runs without it
    try:
        described = await client.about(name)
    except NervError as error:
        return {"service": name, "status": error.detail, "url": url}
    return {"service": name, "status": "up", **described}


async def _projections(client: Client) -> list[dict[str, Any]]:
    try:
        return list(await client.views.projections())
    except NervError:
        return []  # the table of services says why
