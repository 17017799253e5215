# SPDX-License-Identifier: Apache-2.0
"""What the mesh does now, over HTTP: events by type and second, hot keys, and who owns which partitions."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from nerv.service import Request, Route, respond
from nerv.service.params import number
from nerv.types import format_instant
from nerv_projector.deps import Deps
from nerv_projector.mesh.board import Row
from nerv_projector.mesh.counting import HOT, SHOWN_SECONDS

TOP = number("top", 10, "Hot keys at most.", low=1, high=HOT)


async def rates(request: Request[Deps]) -> Response:
    """GET /v1/rates: events of each type in each of the last whole seconds, and the keys that came most."""
    rows = await request.deps.board.alive()
    keys: Counter[str] = Counter()
    for row in rows.values():
        keys.update(row.keys)
    return respond(
        {
            "seconds": SHOWN_SECONDS,
            "types": types_of(rows.values()),
            "keys": [_rated("key", key, count) for key, count in keys.most_common(request.get(TOP))],
            "partitions": {"known": sorted(rows), "of": request.deps.settings.partitions},
        }
    )


def types_of(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """The types, those that come most first; of each its counts, from the earliest of the seconds on."""
    told = list(rows)
    first = max((row.first for row in told), default=0)  # some owners have told of a second that others have not yet
    found: dict[str, list[int]] = defaultdict(lambda: [0] * SHOWN_SECONDS)
    for row in told:
        for name, counts in row.types.items():
            for second, count in enumerate(counts, row.first - first):
                if second >= 0:
                    found[name][second] += count
    ordered = sorted(found.items(), key=lambda one: (-sum(one[1]), one[0]))
    return [{**_rated("type", name, sum(counts)), "counts": counts} for name, counts in ordered]


def _rated(what: str, name: str, count: int) -> dict[str, Any]:
    return {what: name, "events": count, "per_second": count / SHOWN_SECONDS}


async def owners(request: Request[Deps]) -> Response:
    """GET /v1/owners: which replica works on which partitions, since when, and which went from one to another lately."""
    board = request.deps.board
    rows, moves = await board.alive(), await board.moves()
    return respond(
        {
            "partitions": [_owned(number, rows.get(number)) for number in range(request.deps.settings.partitions)],
            "moves": [{**asdict(move), "at": _instant(move.at)} for move in moves],
        }
    )


def _owned(partition: int, row: Row | None) -> Mapping[str, Any]:
    if row is None:
        return {"partition": partition, "owner": None, "since": None}
    return {"partition": partition, "owner": row.owner, "since": _instant(row.since)}


def _instant(seconds: float) -> str:
    return format_instant(datetime.fromtimestamp(seconds, UTC))


ROUTES = (
    Route("GET", "/v1/rates", rates, "mesh:read", (TOP,)),
    Route("GET", "/v1/owners", owners, "mesh:read"),
)
