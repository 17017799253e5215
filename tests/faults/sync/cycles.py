# SPDX-License-Identifier: Apache-2.0
"""Objects that are parents of each other: refused by name, before anything is written; mended, they are synced."""

from nerv.client import Client
from nerv.sync import ParentsInCycle
from tests.faults.sync.registry import Registry
from tests.faults.verdict import Invariant


async def part(left: Registry, right: Registry, client: Client, times: int) -> Invariant:
    """Cycles of growing length."""
    complaints: list[str] = []
    for number in range(times):
        keys = [f"loop{number}.{n}" for n in range(number + 1)]
        for n, key in enumerate(keys):
            left.side.put(key, {"key": key, "above": keys[n - 1], "a": 0, "b": 0})
        try:
            await client.syncs.run("fleet")
            complaints.append(f"a cycle of {len(keys)} was not refused")
        except ParentsInCycle as refused:
            if {one["key"] for one in refused.errors} != set(keys):
                complaints.append(f"a cycle of {len(keys)} was refused as {refused}")
        if any(key in right.side for key in keys):
            complaints.append(f"a cycle of {len(keys)} was written")
        left.side.put(keys[0], {"key": keys[0], "above": None, "a": 0, "b": 0})
        await client.syncs.run("fleet")
        complaints += [f"{key} is missing" for key in keys if key not in right.side]
    complaints += [f"{key} was written before its parent" for key in right.orphans]
    return Invariant("sync.cycles", times * (times + 1) // 2, times, complaints)
