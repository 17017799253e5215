# SPDX-License-Identifier: Apache-2.0
"""Having this replica's index fit to answer a read: caught up, closed at an instant, or proven to be the owner's."""

from datetime import datetime
from urllib.parse import quote

from starlette.responses import Response

from nerv.cloudevents.proto_format import to_us
from nerv.errors import Invalid
from nerv.history.select import not_future
from nerv.service import Request
from nerv.types import format_instant
from nerv_temporal.api.deps import Deps, passed_on

POSITION_SECONDS = 5.0  # how long a read waits for the position that it asks for


async def prepare(request: Request[Deps], partition: int, known_at: datetime | None) -> Response | None:
    """Have this replica's index fit to answer for a partition, or get the answer from its owner.

    A position is waited for here, on any replica. Otherwise the owner answers; `consistency=strong` has it prove first
    that it still is the owner.
    """
    deps = request.deps
    position = request.query("min_position")
    consistency = request.query("consistency") or "default"
    if consistency not in ("default", "strong"):
        raise Invalid("consistency must be default or strong")
    if position is not None and consistency == "default" and known_at is None:
        await _reach(deps, position)
        return None
    if known_at is not None:
        not_future(known_at, deps.clock)

    async def attempt() -> Response | None:
        owner = deps.router.owner(partition)
        if owner is None:
            return await _forward(request, partition)
        if known_at is not None:
            await owner.close_at(to_us(known_at))
        elif consistency == "strong":
            await owner.barrier()
        return None

    return await deps.router.settled(passed_on(request), attempt)


async def close(request: Request[Deps], partition: int, known_at: datetime) -> int:
    """Close a partition's recorded time, wherever its owner is, and read up to there."""
    deps = request.deps
    not_future(known_at, deps.clock)

    async def attempt() -> int:
        owner = deps.router.owner(partition)
        if owner is not None:
            return await owner.close_at(to_us(known_at))
        answer = await deps.router.forward(
            partition,
            "POST",
            f"/v1/partitions/{partition}/closings",
            {"known_at": format_instant(known_at)},
            passed_on(request),
        )
        return int(answer.json()["offset"])

    offset = await deps.router.settled(passed_on(request), attempt)
    await deps.tail.reached(partition, offset, POSITION_SECONDS)
    return offset


async def _reach(deps: Deps, position: str) -> None:
    partition, _, offset = position.partition(":")
    if not (partition.isdigit() and offset.isdigit() and int(partition) < deps.settings.partitions):
        raise Invalid(f"min_position must look like 2:1042 (partition:offset), not {position[:40]!r}")
    await deps.tail.reached(int(partition), int(offset), POSITION_SECONDS)


async def _forward(request: Request[Deps], partition: int) -> Response:
    answer = await request.deps.router.forward(
        partition,
        "GET",
        quote(request.http.url.path),
        dict(request.http.query_params),
        passed_on(request),
    )
    kept = {name: answer.headers[name] for name in ("nerv-next", "etag") if name in answer.headers}
    return Response(answer.body, answer.status, kept, answer.headers.get("content-type"))
