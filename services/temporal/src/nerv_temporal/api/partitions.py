# SPDX-License-Identifier: Apache-2.0
"""The partitions: who owns what, how far the index is, and closing recorded time for another replica."""

from starlette.responses import Response

from nerv.errors import Invalid
from nerv.service import Request, respond
from nerv_temporal.api.deps import Deps
from nerv_temporal.api.fitness import close
from nerv_temporal.api.query import instant


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
            }
        )
    return respond({"partitions": rows})


async def close_partition(request: Request[Deps]) -> Response:
    """POST /v1/partitions/{partition}/closings?known_at=T: close recorded time at T; asked by other replicas."""
    text = request.path("partition")
    if not text.isdigit() or int(text) >= request.deps.settings.partitions:
        raise Invalid(f"there is no partition {text[:20]}")
    known_at = instant(request, "known_at")
    if known_at is None:
        raise Invalid("say at which instant: known_at=...")
    return respond({"offset": await close(request, int(text), known_at)})
