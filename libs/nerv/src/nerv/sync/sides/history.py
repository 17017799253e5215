# SPDX-License-Identifier: Apache-2.0
"""The streams of a category of a history as a side: an object is a stream, its row is whole in each of its events."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from itertools import islice

import orjson

from nerv.errors import IdConflict, NervError, TooLarge
from nerv.protocols import Appended, AppendOutcome, AppendRequest, Expected, History
from nerv.protocols.history import Expect, Subscribable
from nerv.protocols.side import Changes, Entity, Position, Step, WriteOutcome, Written
from nerv.protocols.source import Complete
from nerv.sync.current import Current, CurrentState, current_of, event_type, row_types
from nerv.sync.sides.feed import ChangeLog, HistoryFeed
from nerv.telemetry import marked
from nerv.types import Description, Event, Stamp, entity_of, utc_now

BATCH = 1000  # objects that `load` gives at a time
STREAMS = 1_000_000  # of a category, unless another bound is given


class HistorySide:
    """`<category>-<key>` for each object; `<category>.created.v1`, `.updated.v1` and `.removed.v1` make its row.

    Its version is the stream's, so that every write is an append at the exact version that was seen. A history that can be
    followed (`Subscribable`) is its own feed; with another `feed` somebody must tell that of each foreign append; without any
    the whole category is read each time.
    """

    writable = True

    def __init__(
        self,
        history: History,
        category: str,
        *,
        writer: str,
        feed: ChangeLog | HistoryFeed | None = None,
        limit: int = STREAMS,
    ) -> None:
        self.name = category
        self._history = history
        self._writer = writer
        self._feed = HistoryFeed(history, category) if feed is None and isinstance(history, Subscribable) else feed
        self._limit = limit
        self._loaded: dict[str, Current] | None = None
        self._given: set[str] = set()
        self._recent: dict[str, Current] = {}
        self._appended = 0

    async def load(self) -> AsyncIterator[Sequence[Entity] | Complete]:
        """Every object that is not removed (see `Side.load`). Raises TooLarge beyond the bound."""
        state = CurrentState(self.name)
        async for event in self._history.read_category(self.name):
            state.add(event)
            if len(state.entities) > self._limit:
                raise TooLarge(
                    f"category {self.name} has more than {self._limit} streams; raise NERV_SYNC__ROWS if that is right"
                )
        self._loaded, self._given = dict(state.entities), set()
        present = [item for item in state.entities.items() if item[1].content is not None]
        pending = iter(present)
        while chunk := list(islice(pending, BATCH)):
            yield [_entity(key, current) for key, current in chunk]
        yield Complete(len(present), utc_now())

    async def fetch(self, keys: Sequence[str]) -> list[Entity]:
        """As a load has read them, each once; what is asked for again, or was not loaded, is read, many streams at a time."""
        known: dict[str, Entity] = {}
        if self._loaded is not None:
            known = {key: _entity(key, self._loaded.get(key)) for key in keys if key not in self._given}
            self._given.update(known)
        known |= {key: _entity(key, self._recent.pop(key)) for key in keys if key in self._recent}
        if pending := [key for key in keys if key not in known]:
            found = await self._history.latest([f"{self.name}-{key}" for key in pending], row_types(self.name))
            known |= {key: _entity(key, current_of(self.name, one)) for key, one in zip(pending, found, strict=True)}
        return [known[key] for key in keys]

    async def changes(self, after: Position | None) -> Changes | None:
        """What the feed tells (see `Side.changes`); None without one."""
        if after is not None:
            self._loaded = None  # was kept for the comparison that followed the load
        if isinstance(self._feed, HistoryFeed):
            return await self._recent_changes(self._feed, after)
        return None if self._feed is None else self._feed.since(after)

    async def _recent_changes(self, feed: HistoryFeed, after: Position | None) -> Changes | None:
        """What the feed tells. Streams that are as young as that are known by it, and need not be read."""
        state, young = CurrentState(self.name), set[str]()

        def note(event: Event[bytes]) -> None:
            if event.sequence == 1:
                young.add(entity_of(event.stream))
            state.add(event)

        told = await feed.since(after, note)
        self._recent = {key: state.entities[key] for key in young}
        return told

    async def write(self, steps: Sequence[Step]) -> list[WriteOutcome]:
        """Append each change at its exact version. One that is there already, by whatever run, is done."""
        requests = [_traced(self.request(step)) for step in steps]
        try:
            outcomes = [_outcome(found) for found in await self._history.append(requests)]
        except NervError as error:
            # Refused, not done or unknown as a whole: so is each.
            outcomes = [error] * len(steps)
        self._appended += sum(1 for outcome in outcomes if isinstance(outcome, Written))
        if isinstance(self._feed, ChangeLog):
            self._feed.note([step.key for step in steps])
        return outcomes

    def request(self, step: Step) -> AppendRequest:
        """The append that makes a change. Its id is a hash of writer, stream, seen version, type and content, so that a plan
        that is made and applied again repeats the ids of what it had not yet seen done, and so changes nothing twice.
        """
        stream, kind = f"{self.name}-{step.key}", event_type(self.name, step.action)
        version = step.version if isinstance(step.version, int) else 0
        data = _data(step)
        time = step.stamp.instant if step.stamp is not None else utc_now()
        event = Event(event_id(self._writer, stream, version, kind, data), self._writer, kind, time, data)
        return AppendRequest(stream, [event], Expected(Expect.EXACT, version))

    def describe(self) -> Description:
        """The side as data."""
        stream = f"{self.name}-*"
        return Description("HistorySide", self.name, (stream,), (stream,), counters={"appended": self._appended})


def _entity(key: str, current: Current | None) -> Entity:
    if current is None:
        return Entity(key, None, 0)
    # What another writer has appended and is no JSON object is a row without a value.
    row = None if current.content is None else orjson.loads(current.content) or {}
    return Entity(key, row, current.version, Stamp.of(current.time))


def _data(step: Step) -> bytes:
    """The whole row after; of a removed object its key and the row before."""
    if step.after is not None:
        return step.after
    return orjson.dumps({"before": orjson.Fragment(step.before or b"null"), "key": step.key})


def event_id(writer: str, stream: str, version: int, kind: str, data: bytes) -> str:
    """The identity of a change, 32 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (writer.encode(), stream.encode(), str(version).encode(), kind.encode(), data):
        # Each part is preceded by its length, so that no two lists of parts make the same bytes.
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.hexdigest()


def _traced(request: AppendRequest) -> AppendRequest:
    """The request, its events in the trace of this run."""
    events = marked(request.events)
    return request if events is request.events else replace(request, events=events)


def _outcome(found: AppendOutcome) -> WriteOutcome:
    if isinstance(found, Appended):
        return Written(found.last_version)
    # The id stands for writer, stream, version, type and data. If it is there, so is the change: a run that went on
    # elsewhere made it, and gave it another time.
    if isinstance(found, IdConflict):
        return Written(None)
    return found
