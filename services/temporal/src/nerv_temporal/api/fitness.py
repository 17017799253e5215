# SPDX-License-Identifier: Apache-2.0
"""Having this replica's index fit to answer a read, whoever owns the partition.

Every replica follows every partition, so that any of them answers any read by itself. The owner only says how far the
log reaches (`POST /v1/partitions/positions`), after it has done what the read asks for: closed recorded time at an instant,
or proven that it still is the owner. Then the index is waited for.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from nerv.cloudevents.proto_format import from_us, to_us
from nerv.errors import Invalid, Unavailable
from nerv.history.select import not_future
from nerv.service import Request
from nerv.service.forwarding import FORWARDED, passed_on
from nerv.types import format_instant, parse_instant
from nerv_temporal.api.deps import Deps
from nerv_temporal.api.query import Consistency, Freshness
from nerv_temporal.index import Index

POSITION_SECONDS = 5.0  # how long a read waits for the position that it asks for
SKEW_SECONDS = 60.0  # by which the clock of a replica that passes a read on may be ahead of ours


class Point(NamedTuple):
    """How far to read of a partition; and, where the owner or the question named it, the recorded instant of that."""

    next_offset: int
    known_at: datetime | None


async def fit(request: Request[Deps], partitions: Sequence[int], asked: Freshness) -> dict[int, Point]:
    """Wait until the index is as fresh as asked; answers how far to read of each partition.

    Raises Invalid for an instant to come, Unavailable when the owners or the index do not get there in time.
    """
    deps = request.deps
    await reach(deps, {p: offset for p, offset in asked.min_position.items() if p in partitions})
    open_ones = [p for p in partitions if not _settled(deps, p, asked)]
    points = {}
    if open_ones:
        if asked.known_at is not None:
            await _check_past(request, partitions, asked.known_at)
        points = await deps.router.settled(passed_on(request), lambda: _ask(request, open_ones, asked))
        await reach(deps, {p: point.next_offset - 1 for p, point in points.items()})
    here = {p: Point(deps.tail.index.partition(p).next_offset, asked.known_at) for p in partitions}
    return here | points


async def _check_past(request: Request[Deps], partitions: Sequence[int], known_at: datetime) -> None:
    """Raises Invalid for an instant that has come neither by our clock nor by that of any owner that has written."""
    try:
        not_future(known_at, request.deps.clock, SKEW_SECONDS if request.header(FORWARDED) else 0.0)
    except Invalid:
        if not _recorded_by(request.deps, known_at):
            await fit(request, partitions, Freshness(Consistency.DEFAULT, {}))
        if not _recorded_by(request.deps, known_at):
            raise


def _recorded_by(deps: Deps, instant: datetime) -> bool:
    return any(deps.tail.index.partition(p).recorded_us >= to_us(instant) for p in range(deps.settings.partitions))


def _settled(deps: Deps, partition: int, asked: Freshness) -> bool:
    """Whether the index has the answer already: it is asked for no more, or nothing can change what was known then.

    The latter is for the log to say, not for a clock: what one replica has answered, no other refuses as yet to come.
    """
    if asked.known_at is not None:
        return deps.tail.complete_until(partition) >= to_us(asked.known_at)
    return asked.consistency is Consistency.LOCAL


async def _ask(request: Request[Deps], partitions: Iterable[int], asked: Freshness) -> dict[int, Point]:
    """How far each partition reaches as its owner sees it."""
    deps = request.deps
    by_address: dict[str, list[int]] = defaultdict(list)
    mine: list[int] = []
    for partition in partitions:
        if deps.router.owner(partition) is None:
            by_address[deps.tail.index.partition(partition).address].append(partition)
        else:
            mine.append(partition)
    asking = [
        *(_prove(deps, partition, asked) for partition in mine),
        *(_ask_owner(request, theirs, asked) for theirs in by_address.values()),
    ]
    answers = [await asking[0]] if len(asking) == 1 else await asyncio.gather(*asking)
    points = {partition: point for answer in answers for partition, point in answer.items()}
    for partition, point in points.items():
        offset = asked.min_position.get(partition)
        if offset is not None and is_behind(deps.tail.index, partition, point, offset, asked.known_at):
            raise Unavailable(
                f"the owner of partition {partition} was deposed and does not know it yet", retry_after=0.3
            )
    return points


def is_behind(index: Index, partition: int, point: Point, offset: int, asked: datetime | None) -> bool:
    """Whether an owner that answers with `point` may not know the event at `offset`, which `index` has.

    A deposed one may have it from Kafka, and cannot tell whether that is all of its tick: unless an instant was asked for,
    it answers for one before it.
    """
    if point.next_offset <= offset:
        return True
    found = index.places(partition, offset, offset + 1, backward=False, limit=1)
    return bool(found) and asked is None and point.known_at is not None and to_us(point.known_at) < found[0].recorded_us


async def _prove(deps: Deps, partition: int, asked: Freshness) -> dict[int, Point]:
    owner = deps.router.owner(partition)
    if owner is None:
        raise Unavailable(f"partition {partition} has just moved", retry_after=0.3)
    if asked.known_at is not None:
        await owner.close_at(to_us(asked.known_at))
    elif asked.consistency is Consistency.STRONG:
        await owner.barrier()
    known_at = asked.known_at or from_us(deps.tail.complete_until(partition))
    return {partition: Point(deps.tail.index.partition(partition).next_offset, known_at)}


async def _ask_owner(request: Request[Deps], partitions: Sequence[int], asked: Freshness) -> dict[int, Point]:
    query = {"partitions": ",".join(map(str, partitions)), "consistency": str(asked.consistency)}
    if asked.known_at is not None:
        query["known_at"] = format_instant(asked.known_at)
    answer = await request.deps.router.forward(
        partitions[0], "POST", "/v1/partitions/positions", query, passed_on(request)
    )
    return {row["partition"]: _point(row) for row in answer.json()["positions"]}


def _point(row: Mapping[str, Any]) -> Point:
    return Point(row["next_offset"], row["known_at"] and parse_instant(row["known_at"], "known_at"))


async def reach(deps: Deps, last_offsets: Mapping[int, int]) -> None:
    """Wait until the index covers these offsets. Raises Unavailable."""
    for partition, offset in last_offsets.items():
        await deps.tail.reached(partition, offset, POSITION_SECONDS)
