# SPDX-License-Identifier: Apache-2.0
"""Which replicas there are, also while Redis is away and nobody knows them all."""

import asyncio
from typing import Any

from nerv.cli.replicas import status_of
from nerv.client import Client
from nerv.errors import NervError

Row = dict[str, Any]

SECONDS = 3.0  # for a service to say what it is


async def replicas_of(client: Client) -> tuple[list[Row], str | None]:
    """Every replica with its `status`; of a service of which none says that it is alive, what it answers itself. And why not all
    replicas are known, where that is so.
    """
    try:
        replicas, fault = await client.mesh(), None
    except NervError as error:
        replicas, fault = [], error.detail
    seen = {replica["service"] for replica in replicas}
    unseen = [name for name in client.transport.services if name not in seen]
    answers = await asyncio.gather(*(_asked(client, name) for name in unseen))
    rows = [{**replica, "status": status_of(replica)} for replica in replicas]
    return [*rows, *(row for row in answers if row is not None)], fault


async def _asked(client: Client, name: str) -> Row | None:
    try:
        # Asked once: a service that is away is what somebody wants to see, now.
        answer = await client.transport.attempt(name, "GET", "/.well-known/nerv", None, None, None, SECONDS)
        told: Row = answer.json()
    except NervError as error:
        return {"service": name, "status": error.detail, "url": client.transport.url(name)}
    if told["service"] != name:
        return None  # one address stands for all services, and leads to others
    return {**told, "status": status_of(told)}
