# SPDX-License-Identifier: Apache-2.0
"""Wait until the views show what a caller has written: read your writes, on any replica."""

import asyncio
from collections.abc import Mapping

from nerv.errors import Invalid, Unavailable
from nerv.protocols.views import Cursor
from nerv_projector.runner import Runner
from nerv_projector.watermarks import Watermarks

WAIT_SECONDS = 5.0  # then the caller is told to ask again
ASK_SECONDS = 0.01
PARTITIONS = 10_000  # more than any topic has


def positions(text: str) -> dict[int, int]:
    """`0:17,3:5`: offsets by partition, as an append answers them. Raises Invalid."""
    found = {}
    for part in text.split(",")[:PARTITIONS]:
        partition, _, offset = part.partition(":")
        if not (partition.isdecimal() and offset.isdecimal() and len(part) < 30):
            raise Invalid(f"min_position must be like 0:17,3:5 (partition:offset), not {text[:40]!r}")
        found[int(partition)] = int(offset)
    return found


async def covered(runner: Runner, watermarks: Watermarks, wanted: Mapping[int, int]) -> None:
    """Until the views show all up to these positions of their source. Raises Unavailable when that takes too long, Invalid."""
    topics = runner.hosted.sources.topics
    if len(topics) > 1:
        raise Invalid(f"{runner.name} folds several topics ({', '.join(topics)}); min_position is of one")
    there = watermarks.partitions if runner.epoch is None else len(runner.epoch.first)
    unknown = sorted(p for p in wanted if p >= there)
    if unknown:
        raise Invalid(f"min_position names partition {unknown[0]}; {topics[0]} has {there}")
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            target: Mapping[int, int] = {p: offset + 1 for p, offset in wanted.items()}
            if len(runner.hosted.lanes) > 1:
                target = await _rekeyed(runner, watermarks, target)
            while not await _folded(runner, target):  # noqa: ASYNC110 - the store tells nobody
                await asyncio.sleep(ASK_SECONDS)
    except TimeoutError:
        text = f"projection {runner.name} does not show that position after {WAIT_SECONDS:g} s"
        raise Unavailable(text, retry_after=1.0) from None


async def _rekeyed(runner: Runner, watermarks: Watermarks, target: Mapping[int, int]) -> Mapping[int, int]:
    """Where the rekeyed topic ends once all up to `target` stands in it."""
    [source] = runner.hosted.sources.topics
    while True:
        rekeyer = runner.hosted.rekeyer
        if rekeyer is not None:
            committed = await rekeyer.committed([(source, p) for p in target])
            if all(committed.get((source, p), 0) >= offset for p, offset in target.items()):
                # The offsets of a transaction may be seen a moment before its records are: they are written by then.
                return await watermarks.ends(runner.hosted.folded_topic)
        await asyncio.sleep(ASK_SECONDS)


async def _folded(runner: Runner, target: Mapping[int, int]) -> bool:
    if runner.epoch is None:
        return False
    cursors = (await runner.hosted.views.progress(runner.epoch)).cursors
    return all(p in cursors and Cursor.from_bytes(cursors[p]).next_offset >= offset for p, offset in target.items())
