# SPDX-License-Identifier: Apache-2.0
"""Killed between any two steps of a switch: one version or the other is live, on every replica, and no reader sees both."""

import asyncio
from typing import Any

from nerv.client import Client
from nerv.errors import NervError
from tests.faults.projector.stage import REPLICAS, Stage
from tests.faults.verdict import Invariant
from tests.integration.projector.watching import check_all, settled, until

PROJECTION = "carriers"
TRIPS = 4000  # that each rebuild folds, and more with each fault
REST = 0.005  # s between two listings, so that they leave the replicas time to switch
KILL_WITHIN = 0.25  # s from the request: a decision takes about so long


class Reader:
    """Lists the views over and over, in pages of one; each listing must come from one version."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.listings = 0
        self.mixed: list[str] = []

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(REST)
            epochs: list[str] = []
            cursor: str | None = None
            try:
                while True:
                    query = {"limit": 1, "cursor": cursor}
                    page = await self._client.transport.request(
                        "projector", "GET", f"/v1/views/{PROJECTION}", query=query
                    )
                    epochs.append(page.json()["epoch"])
                    cursor = page.json()["next"]
                    if cursor is None:
                        break
            except NervError:
                continue  # refused as a whole: nothing was mixed
            self.listings += 1
            if len(set(epochs)) > 1:
                self.mixed.append(f"one listing came from epochs {epochs}")


async def switched(stage: Stage, times: int) -> Invariant:
    """A rebuild each time; the replica that is asked to switch is killed meanwhile."""
    await stage.fly(TRIPS)
    asked, watched = REPLICAS[1], REPLICAS[2]
    complaints: list[str] = []
    outcomes = {"before": 0, "after": 0}
    async with (
        Client({"projector": stage.mesh.url(asked)}) as client,
        Client({"projector": stage.mesh.url(watched)}) as other,
    ):
        reader = Reader(other)
        reading = asyncio.create_task(reader.run())
        for number in range(times):
            built = (await other.projections.rebuild(PROJECTION))["building"]
            await until(client, lambda rows, built=built: _is_ready(rows, built))
            asking = asyncio.create_task(client.projections.switch(PROJECTION, version=built))
            await asyncio.sleep(KILL_WITHIN * number / times)
            await stage.fault(lambda: stage.mesh.kill(asked))
            await asyncio.wait({asking})
            _ = asking.exception()
            live = (await other.projections.get(PROJECTION))["live"]
            outcomes["after" if live == built else "before"] += 1
            await stage.mesh.restart(asked)
            if live != built and (await other.projections.get(PROJECTION))["live"] != built:
                await until(other, lambda rows, built=built: _is_ready(rows, built))
                await other.projections.switch(PROJECTION, version=built)
            await until(client, lambda rows, built=built: rows[PROJECTION]["control"]["live"] == built)
            await settled(other, [PROJECTION])
            try:
                await check_all(other, stage.expected)
            except AssertionError as error:
                complaints.append(str(error)[:300])
        reading.cancel()
    stage.console.print(f"switched: {outcomes}, {reader.listings} listings", highlight=False)
    vacuous = "" if reader.listings >= times else f"only {reader.listings} listings were read"
    return Invariant("projector.switch_killed", reader.listings, times, [*complaints, *reader.mixed], vacuous)


def _is_ready(rows: dict[str, dict[str, Any]], number: int) -> bool:
    versions = rows[PROJECTION]["control"]["versions"]
    return any(version["version"] == number and version["ready"] for version in versions)
