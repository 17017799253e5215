# SPDX-License-Identifier: Apache-2.0
"""States over HTTP: of a stream, of all streams of a category as of one instant, and what changed between two."""

import time
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Any

from pydantic_core import to_jsonable_python
from starlette.responses import Response

from nerv.cloudevents.proto_format import from_us
from nerv.errors import Gone, Invalid
from nerv.service import Request, respond
from nerv.service.params import number, optional_number, text, whole_number
from nerv.state import MISSING, Change, between, thaw
from nerv.types import check_id, format_instant, parse_instant
from nerv_temporal.api.deps import Deps
from nerv_temporal.api.fitness import fit
from nerv_temporal.api.query import AS_OF, CATEGORY, DELETED, FRESH, Freshness, freshness
from nerv_temporal.api.reading import holds_at
from nerv_temporal.states import StateQuery, projection_for, state_of

PAGE = 500  # the largest page of states
ORDINARY_PAGE = 100
PAGE_SECONDS = 5.0  # a page of long streams ends early

PROJECTION = text(
    "projection", "The projection that folds the state; where it is left out, the only one of the category."
)
VERSION = optional_number("version", "The state as of this version.")
AFTER = text("after", "The `next` of the page before; goes with the known_at of the first page.")
LIMIT = number("limit", ORDINARY_PAGE, "States at most.", low=1, high=PAGE)
FROM = text("from", "A version or an instant.")
TO = text("to", "A version or an instant.")
BY = text("by", "version, as_of or known_at; where it is left out, what `from` looks like.", {"type": "string"})
OF_STATE = (PROJECTION, VERSION, AS_OF, DELETED, *FRESH)
OF_STATES = (CATEGORY, PROJECTION, AS_OF, AFTER, LIMIT, DELETED, *FRESH)
OF_DIFF = (PROJECTION, BY, FROM, TO, AS_OF, DELETED, *FRESH)


async def state(request: Request[Deps]) -> Response:
    """GET /v1/streams/{stream}/state: what a projection folds of a stream, as of a version or an instant."""
    deps = request.deps
    stream = check_id(request.path("stream"), "stream")
    fresh = freshness(request, deps.settings.partitions)
    version, as_of = request.get(VERSION), request.get(AS_OF)
    known_at = await _known(request, stream, fresh)
    query = StateQuery(request.get(PROJECTION), version, as_of, known_at, request.get(DELETED))
    found = await state_of(deps.tail.index, deps.app, stream, query)
    return respond(to_jsonable_python(found), headers={"etag": f'"{found["version"]}"'} | holds_at(known_at))


async def _known(request: Request[Deps], stream: str, fresh: Freshness) -> datetime | None:
    partition = request.deps.router.partition(stream)
    return (await fit(request, [partition], fresh))[partition].known_at


async def states(request: Request[Deps]) -> Response:
    """GET /v1/streams/states: the state of each stream of a category, all as of one recorded instant.

    Without `known_at` the instant is now; the pages that follow are asked for with the `known_at` of the first.
    """
    deps = request.deps
    category, after = check_id(request.get(CATEGORY), "category"), request.get(AFTER)
    limit = request.get(LIMIT)
    fresh = freshness(request, deps.settings.partitions)
    if fresh.known_at is None and after is not None:
        raise Invalid("after=<stream> goes with the known_at of the first page: all pages hold for one instant")
    known_at = fresh.known_at or await _present(request, fresh)
    await fit(request, range(deps.settings.partitions), replace(fresh, known_at=known_at))
    projection = projection_for(deps.app, category, request.get(PROJECTION))
    as_of, deleted = request.get(AS_OF), request.get(DELETED)
    query = StateQuery(projection.name, as_of=as_of, known_at=known_at, deleted=deleted)
    names = [name for name, _ in islice(deps.tail.index.streams(category, after or ""), limit)]
    found, late = list[dict[str, Any] | None](), time.monotonic() + PAGE_SECONDS
    for name in names:
        found.append(await _if_there(deps, name, query))
        if time.monotonic() > late:
            break
    document = {
        "category": category,
        "projection": projection.name,
        "as_of": query.as_of and format_instant(query.as_of),
        "known_at": format_instant(known_at),
        "states": [{name: one[name] for name in ("stream", "version", "state")} for one in found if one],
        "next": names[len(found) - 1] if len(found) < len(names) or len(names) == limit else None,
    }
    return respond(to_jsonable_python(document), headers=holds_at(known_at))


async def _if_there(deps: Deps, stream: str, query: StateQuery) -> dict[str, Any] | None:
    """The state of a stream that had an event by then, and was not deleted by then."""
    try:
        found = await state_of(deps.tail.index, deps.app, stream, query)
    except Gone:
        return None
    return found if found["events"] else None


async def _present(request: Request[Deps], fresh: Freshness) -> datetime:
    """An instant that all that was appended before the request is recorded by; owners' clocks may be ahead of ours."""
    points = await fit(request, range(request.deps.settings.partitions), fresh)
    covered = [request.deps.tail.index.partition(partition).recorded_us for partition in points]
    return max(request.deps.clock.now(), from_us(max(covered)))


class Axis(StrEnum):
    """Along what two states are told apart."""

    VERSION = "version"
    AS_OF = "as_of"
    KNOWN_AT = "known_at"


@dataclass(frozen=True, slots=True)
class _Ends:
    axis: Axis
    first: Any
    second: Any


async def diff(request: Request[Deps]) -> Response:
    """GET /v1/streams/{stream}/diff: what changed in a state between two versions or instants."""
    deps = request.deps
    stream, ends = check_id(request.path("stream"), "stream"), _ends(request)
    fresh = freshness(request, deps.settings.partitions)
    if ends.axis is Axis.KNOWN_AT:
        fresh = replace(fresh, known_at=max(ends.first, ends.second))
    known_at = await _known(
        request, stream, fresh
    )  # both states are of one state of knowledge, if that is not the axis
    as_of, deleted = request.get(AS_OF), request.get(DELETED)
    base = StateQuery(request.get(PROJECTION), as_of=as_of, known_at=known_at, deleted=deleted)
    index, app = deps.tail.index, deps.app
    one = await state_of(index, app, stream, replace(base, **{ends.axis.value: ends.first}))
    two = await state_of(index, app, stream, replace(base, **{ends.axis.value: ends.second}))
    document = {
        "stream": stream,
        "projection": one["projection"],
        "by": ends.axis,
        "from": {"at": request.get(FROM), "version": one["version"]},
        "to": {"at": request.get(TO), "version": two["version"]},
        "as_of": base.as_of and format_instant(base.as_of),
        "known_at": known_at and format_instant(known_at),
        "changes": [_row(change) for change in between(_plain(one["state"]), _plain(two["state"])).changes],
    }
    return respond(document, headers=holds_at(known_at))


def _ends(request: Request[Deps]) -> _Ends:
    first, second, by = request.get(FROM), request.get(TO), request.get(BY)
    if first is None or second is None:
        raise Invalid("say between what: from=<version or instant>&to=<version or instant>")
    if by is not None and by not in list(Axis):
        raise Invalid(f"by must be {', '.join(Axis)}, not {by[:40]!r}")
    axis = Axis(by) if by else Axis.VERSION if first.isdigit() else Axis.AS_OF
    if axis is Axis.VERSION:
        return _Ends(axis, whole_number(first, "from", 0), whole_number(second, "to", 0))
    if request.query(axis) is not None:
        raise Invalid(f"{axis} is what the states are told apart by; leave it out")
    return _Ends(axis, parse_instant(first[:60], "from"), parse_instant(second[:60], "to"))


def _plain(state: Any) -> Any:
    return {} if state is None else to_jsonable_python(state)


def _row(change: Change) -> dict[str, Any]:
    """A change as JSON; what was not there, or is not any more, has no name."""
    row: dict[str, Any] = {"path": list(change.path)}
    if change.old is not MISSING:
        row["old"] = thaw(change.old)
    if change.new is not MISSING:
        row["new"] = thaw(change.new)
    return row
