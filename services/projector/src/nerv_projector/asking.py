# SPDX-License-Identifier: Apache-2.0
"""What a read of views asks for: the words it takes, and the checks that every read goes through."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nerv.errors import NotFound, Unavailable
from nerv.projections import Projection
from nerv.protocols.views import View
from nerv.service import Request
from nerv.service.params import LAST_EVENT_ID, flag, header, instant, number, text
from nerv.types import format_instant
from nerv_projector.deps import Deps
from nerv_projector.positions import covered, positions
from nerv_projector.runner import Runner
from nerv_projector.seeing import Seen, seen_by
from nerv_projector.timetravel import Instant

PAGE_LIMIT = 1000
ANY = {"type": "string"}

PERSPECTIVE = text(
    "perspective",
    "The view through the eyes of this kind of reader; without it the one that the token's scopes ask for. `state`: as it is.",
)
FIELDS = text("fields", "Only these fields of the perspective, with commas between.", ANY)
AS_OF = instant("as_of", "Valid time: as it was at this instant.")
KNOWN_AT = instant("known_at", "Recorded time: as it was known at this instant.")
LIMIT = number("limit", 100, "Views at most.", low=1, high=PAGE_LIMIT)
CURSOR = text("cursor", "Where the next page begins: the `next` of the one before.", ANY)
STALE = flag("stale", "Answer while the views are being rebuilt, too, with what is there.")
MIN_POSITION = text("min_position", "Wait until the views show all up to here: 0:17,3:5, as an append answers it.")
FROM = instant("from", "The first of two instants.")
TO = instant("to", "The second of two instants.")
KNOWN = flag("known", "The instants are of recorded time: what was known then. Otherwise of valid time.")
WHERE = text("where", "Only views of which this JMESPath expression is true: at == 'JFK' && n > `3`.", ANY)
ORDER = text("order", "In order of what this JMESPath expression finds in a view.", ANY)
KEYS = text("keys", "These views only, with commas between.", ANY)
IF_NONE_MATCH = header("if-none-match", "An `etag`: where it still holds, the answer is 304.")

INDEX = text(
    "index", "In order of this secondary index of the projection; views that have no value in it are left out."
)
EQUALS = text("equals", "Of the index: views with this value.", ANY)
PREFIX = text("prefix", "Of an index of texts: views whose value begins so.", ANY)
LOW = text("low", "Of the index: values from this one on.", ANY)
HIGH = text("high", "Of the index: values up to this one.", ANY)
DESCENDING = flag("descending", "Of the index: from the highest value to the lowest.")

SEEN = (PERSPECTIVE, FIELDS)
VIEW = (*SEEN, AS_OF, KNOWN_AT, STALE, MIN_POSITION)
BETWEEN = (FROM, TO, KNOWN, *SEEN, AS_OF, KNOWN_AT)
BY_INDEX = (INDEX, EQUALS, PREFIX, LOW, HIGH, DESCENDING)
OF_INDEX = tuple(one.name for one in BY_INDEX[1:])
LIST = (*VIEW, LIMIT, CURSOR, KEYS, WHERE, ORDER, *BY_INDEX)
FOLLOW = (*SEEN, STALE, MIN_POSITION, KEYS, LAST_EVENT_ID, AS_OF, KNOWN_AT)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a read of views asks for, checked."""

    runner: Runner
    seen: Seen
    instant: Instant

    @property
    def projection(self) -> Projection[Any]:
        """The projection that is read."""
        return self.runner.hosted.projection

    @property
    def travels(self) -> bool:
        """Whether it is a read as of an instant."""
        return self.instant.as_of is not None or self.instant.known_at is not None

    def head(self) -> dict[str, Any]:
        """What every answer repeats."""
        as_of, known_at = self.instant.as_of, self.instant.known_at
        return {
            "projection": self.runner.name,
            "perspective": self.seen.perspective,
            "as_of": format_instant(as_of) if as_of else None,
            "known_at": format_instant(known_at) if known_at else None,
        }

    def document(self, key: str, view: View) -> dict[str, Any]:
        """A view as it is answered."""
        document = {**self.head(), "key": key, "version": view.version, "state": self.seen.state(key, view)}
        parked = self.seen.parked(view)
        return document if parked is None else {**document, "parked": parked}


def understood(request: Request[Deps]) -> Asked:
    """What is asked for, as far as the request alone tells. Raises NotFound, Forbidden, Invalid or Unavailable."""
    app, name = request.deps.app, request.path("projection")
    runner = request.deps.hub.runners.get(name)
    if runner is None and name in app.projections:
        raise Unavailable(f"the live version of {name} has not started here yet", retry_after=0.5)
    if runner is None:
        raise NotFound(f"app {app.name} has no projection {name[:100]!r}; it has {_names(app.projections)}")
    fields = request.get(FIELDS)
    names = None if fields is None else fields.split(",")
    seen = seen_by(app, runner.hosted.projection, request.principal, request.get(PERSPECTIVE), names)
    return Asked(runner, seen, Instant(request.get(AS_OF), request.get(KNOWN_AT)))


async def ready(request: Request[Deps]) -> Asked:
    """What is asked for, once it can be answered: the views are all there, and as new as the caller wants them."""
    asked = understood(request)
    if asked.travels:
        return asked
    if (wanted := request.get(MIN_POSITION)) is not None:
        await covered(asked.runner, request.deps.watermarks, positions(wanted))
    if not asked.runner.ready:
        await asked.runner.look()  # a version that has just gone live may have caught up since the last check
    if not (asked.runner.ready or request.get(STALE)):
        watched = asked.runner.rebuilding
        percent = 0 if watched is None else watched.way.percent
        raise Unavailable(
            f"projection {asked.runner.name} is rebuilding, {percent} %; stale=true answers with what is there",
            retry_after=1.0,
        )
    return asked


def _names(known: Mapping[str, Any]) -> str:
    return ", ".join(sorted(known)) or "none"
