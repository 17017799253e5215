# SPDX-License-Identifier: Apache-2.0
"""The change feed of a collection over HTTP: what changed since a cursor that the system gives out."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from nerv.errors import Invalid
from nerv.limits import check_json_depth
from nerv.protocols.side import Changes, Position
from nerv.sync.errors import LoadRefused
from nerv.sync.schema import key_of
from nerv.sync.sides.feed import KEPT
from nerv.sync.sides.http.asking import JSON_DEPTH, Answer, place

PAGES = 10_000  # of changes: a feed that never comes to an end is not followed for ever
NDJSON = "application/x-ndjson"
EXPIRED = 410  # what systems answer to a cursor that they do not know any more

Ask = Callable[[Mapping[str, str]], Awaitable[Answer]]
"""Asks for a page of the feed by these words of its address."""


@dataclass(frozen=True, slots=True)
class Feed:
    """Where a system tells what has changed. `GET path?since=<cursor>` answers an object: under `changes` the changed objects,
    each by its key, or as an object with the columns of its key; under `position` the cursor to go on from; true under `more`
    where there is more to be had. In place of an object there may be lines of JSON (NDJSON), each a change, or a position.

    `since=now` asks for the cursor of now; with `now=None` the parameter is left out for that. A system that may begin anew,
    such as from a backup, names itself under `epoch`. 410 is the answer to a cursor that is too old: all is read again.
    """

    path: str
    since: str = "since"
    now: str | None = "now"
    changes: str = "changes"
    position: str = "position"
    more: str = "more"
    epoch: str = "epoch"

    async def read(self, ask: Ask, identifiers: Sequence[str], after: Position | None) -> Changes | None:
        """What changed after a position (see `Side.changes`). Raises what `ask` does, LoadRefused."""
        at: str | int | None = self.now if after is None else after.sequence
        keys: dict[str, None] = {}
        for _ in range(PAGES):
            answer = await ask({} if at is None else {self.since: str(at)})
            if answer.status == EXPIRED and after is not None:
                return None
            position, more = self._page(answer, identifiers, keys)
            if (after is not None and position.epoch != after.epoch) or len(keys) > KEPT:
                return None
            if not more:
                return Changes([] if after is None else list(keys), position)
            if position.sequence == at:
                raise LoadRefused(f"{place(answer.url)} says that there is more after {at!r}, and goes on from there")
            at = position.sequence
        raise LoadRefused(f"{self.path} does not come to an end; {PAGES} pages were read")

    def _page(self, answer: Answer, identifiers: Sequence[str], keys: dict[str, None]) -> tuple[Position, bool]:
        """Note the keys of a page; answers the position after it, and whether there is more."""
        if answer.status != 200:
            raise LoadRefused(f"{place(answer.url)} answers {answer.status}; nothing was changed")
        document = self._document(answer)
        changed, sequence = document.get(self.changes), document.get(self.position)
        if not isinstance(changed, list) or not isinstance(sequence, str | int) or isinstance(sequence, bool):
            raise LoadRefused(
                f"{place(answer.url)} answers 200 without a list under `{self.changes}` and a text or a whole number under "
                f"`{self.position}`"
            )
        try:
            keys.update((_key(identifiers, one), None) for one in changed)
        except Invalid as error:
            raise LoadRefused(f"{place(answer.url)}: a change that names no object: {error.detail}") from None
        return Position(str(document.get(self.epoch, "")), sequence), document.get(self.more) is True

    def _document(self, answer: Answer) -> dict[str, Any]:
        """What a page says; lines are taken together to one object."""
        if answer.headers.get("content-type", "").partition(";")[0].strip().lower() != NDJSON:
            found = answer.json()
            return found if isinstance(found, dict) else {}
        document: dict[str, Any] = {self.changes: []}
        for line in answer.body.splitlines():
            told = _line(answer, line)
            about = {self.position, self.more, self.epoch} & told.keys()
            document |= {name: told.pop(name) for name in about}
            if told:
                document[self.changes].append(told)
        return document


def _line(answer: Answer, line: bytes) -> dict[str, Any]:
    try:
        check_json_depth(line, JSON_DEPTH)
        told = orjson.loads(line) if line.strip() else {}
    except orjson.JSONDecodeError as error:
        raise LoadRefused(f"{place(answer.url)} answers with a line that is no JSON: {error}") from None
    if not isinstance(told, dict):
        raise LoadRefused(f"{place(answer.url)} answers with a line that is no object")
    return told


def _key(identifiers: Sequence[str], change: Any) -> str:
    """The key of a change: of one identifier it may be told as it is."""
    if isinstance(change, dict):
        return key_of(identifiers, change)
    if len(identifiers) > 1:
        raise Invalid(f"{change!r:.40} is no object with {', '.join(identifiers)}")
    return key_of(identifiers, {identifiers[0]: change})
