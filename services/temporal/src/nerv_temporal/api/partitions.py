# SPDX-License-Identifier: Apache-2.0
"""The partitions: who owns what, how far the index is, and what an owner tells the other replicas."""

from starlette.responses import Response

from nerv.errors import Invalid
from nerv.service import Request, respond
from nerv.service.params import text, whole_number
from nerv.types import format_instant
from nerv_temporal.api.deps import Deps
from nerv_temporal.api.fitness import Point, fit
from nerv_temporal.api.query import freshness

PARTITIONS = text("partitions", "Numbers of partitions, with commas between.", {"type": "string"})


async def partitions(request: Request[Deps]) -> Response:
    """GET /v1/partitions: who owns what, and how far this replica's index has come."""
    deps = request.deps
    rows = []
    for number in range(deps.settings.partitions):
        covered = deps.tail.index.partition(number)
        owner = deps.router.owner(number)
        rows.append(
            {
                "partition": number,
                "owner": covered.address,
                "here": owner is not None,
                "take_overs": owner.take_overs if owner else 0,
                "next_offset": covered.next_offset,
                "next_command": covered.next_command,
            }
        )
    return respond({"partitions": rows})


async def positions(request: Request[Deps]) -> Response:
    """POST /v1/partitions/positions: how far the log reaches, as asked by another replica."""
    deps = request.deps
    names = (request.get(PARTITIONS) or "").split(",", deps.settings.partitions)
    wanted = [whole_number(name, "partitions", 0, deps.settings.partitions - 1) for name in names]
    asked = freshness(request, deps.settings.partitions)
    if asked.min_position:
        raise Invalid("min_position is for reads")
    found = await fit(request, wanted, asked)
    return respond({"positions": [_row(partition, point) for partition, point in found.items()]})


def _row(partition: int, point: Point) -> dict[str, object]:
    known_at = None if point.known_at is None else format_instant(point.known_at)
    return {"partition": partition, "next_offset": point.next_offset, "known_at": known_at}
