# SPDX-License-Identifier: Apache-2.0
"""Find events of a topic, within a bounded number of records: one by its id, backwards from an instant, in steps; those of chains
of causes forwards from one.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing, suppress
from datetime import datetime, timedelta
from typing import Any, Protocol

from starlette.responses import Response

from nerv.cloudevents import Incoming
from nerv.cloudevents.proto_format import from_us, to_us
from nerv.errors import Invalid, NotFound
from nerv.kafka import BatchConsumer, KafkaSettings, Received
from nerv.kafka.survey import Survey
from nerv.service import Request, Route, respond
from nerv.service.params import ID, instant, patterns, text
from nerv.topics import projection_of
from nerv.types import check_id, format_instant, utc_now
from nerv_broker.topics.handlers import HasTopics, known

WANTED = text("id", "The event's id.", ID)
BEFORE = instant("before", "It was written by then; now where it is left out. It is looked for from there backwards.")
BACK = (2.0, 30.0, 600.0, 86_400.0)  # s: what caused something stands most often close before it
MOST = 100_000  # records, of which a tenth of a second reads some ten thousand
SECONDS = 8.0
AFTER = timedelta(seconds=1)  # clocks of brokers and of owners differ
OF = patterns("of", "The correlation ids of chains, which are the ids of what they began with, with commas between.")
FROM = instant("from", "They were written then or later.")
SHOWN = 500  # events of chains

Partition = tuple[str, int]


class HasSurvey(HasTopics, Protocol):
    """What this handler works with."""

    @property
    def survey(self) -> Survey:
        """Asks Kafka."""
        ...


class Search:
    """One look for an event in a topic: how many records it has looked at, and from when on."""

    def __init__(self, kafka: KafkaSettings, client_id: str, survey: Survey, event_id: str) -> None:
        self._kafka, self._name, self._survey = kafka, f"{client_id}-search", survey
        self._wanted = event_id.encode()
        self.looked = 0
        self.since: datetime | None = None

    async def backwards(self, partitions: list[Partition], before: datetime) -> Received | None:
        """The record, or None. Raises Unavailable, or what Kafka refused."""
        stops = await self._survey.at(to_us(before + AFTER) // 1000, partitions)
        for back in BACK:
            since = before - timedelta(seconds=back)
            starts = await self._survey.at(to_us(since) // 1000, partitions)
            room = (MOST - self.looked) // max(len(partitions), 1)
            starts = {one: max(start, stops[one] - room) for one, start in starts.items()}
            found = await self._between(starts, stops)
            if found is not None or self.looked >= MOST - len(partitions):
                return found
            self.since, stops = since, starts
        return None

    async def _between(self, starts: Mapping[Partition, int], stops: Mapping[Partition, int]) -> Received | None:
        async with aclosing(_records(self._kafka, self._name, starts, stops)) as batches:
            async for records in batches:
                self.looked += len(records)
                for record in records:
                    if ("ce_id", self._wanted) in (record.headers() or ()):
                        return record
        return None


async def _records(
    kafka: KafkaSettings, name: str, starts: Mapping[Partition, int], stops: Mapping[Partition, int]
) -> AsyncGenerator[list[Received], None]:
    """What stands between these offsets; a few records behind them may come along."""
    until = {one: stop for one, stop in stops.items() if stop > starts[one]}
    if until:
        assign = {one: starts[one] for one in until}
        async with BatchConsumer(kafka, name, name, assign=assign, ends=True) as consumer:
            async for records in consumer.batches_to(until):
                yield records


class Gathering:
    """One look at a topic for what belongs to chains: how much it has looked at, and what it has found."""

    def __init__(self, kafka: KafkaSettings, client_id: str, survey: Survey, chains: Collection[str]) -> None:
        self._kafka, self._name, self._survey = kafka, f"{client_id}-chain", survey
        self._wanted = frozenset((name, one.encode()) for one in chains for name in ("ce_correlationid", "ce_id"))
        self._last: dict[Partition, int] = {}
        self._cut: set[Partition] = set()
        self.looked = 0
        self.found: list[Received] = []

    @property
    def until(self) -> datetime | None:
        """Up to when all was looked at; None where that is all that there is, or nothing of some partition."""
        last = [self._last[one] for one in self._cut if one in self._last]
        return from_us(1000 * min(last)) if self._cut and len(last) == len(self._cut) else None

    @property
    def whole(self) -> bool:
        """Whether all that there is was looked at."""
        return not self._cut

    async def forwards(self, partitions: list[Partition], since: datetime) -> None:
        """Look at what was written since then, as far as there is room and time. Raises Unavailable, or what Kafka refused."""
        ends = await self._survey.ends(partitions)
        starts = await self._survey.at(to_us(since) // 1000, partitions)
        room = MOST // max(len(partitions), 1)
        stops = {one: min(end, starts[one] + room) for one, end in ends.items()}
        self._cut = {one for one, stop in stops.items() if stop > starts[one]}
        try:
            async with asyncio.timeout(SECONDS), aclosing(_records(self._kafka, self._name, starts, stops)) as batches:
                async for records in batches:
                    self._take(records)
                    if len(self.found) >= SHOWN:
                        return
        except TimeoutError:
            return
        self._cut = {one for one, stop in stops.items() if stop < ends[one]}

    def _take(self, records: list[Received]) -> None:
        self.looked += len(records)
        for record in records:
            self._last[record.topic(), record.partition()] = record.timestamp()[1]
            if not self._wanted.isdisjoint(record.headers() or ()):
                self.found.append(record)


async def find(request: Request[HasSurvey]) -> Response:
    """GET /v1/topics/{topic}/find: where the event of an id stands, and its envelope without its data.

    Looks at events in binary mode, a day back, at most 100,000 records of the topic: 404 says how far it has looked. A topic of
    deltas can be looked at by who may read the projection's views.
    """
    deps, name = request.deps, request.get(WANTED)
    if name is None:
        raise Invalid("say which event: id=<its id>")
    topic = await _readable(request)
    partitions = [(topic, number) for number in range(await deps.catalog.partitions(topic))]
    search = Search(deps.settings.kafka, _client(request), deps.survey, check_id(name, "id"))
    before = request.get(BEFORE) or utc_now()
    try:
        async with asyncio.timeout(SECONDS):
            found = await search.backwards(partitions, before)
    except TimeoutError:
        found = None
    if found is None:
        since = "" if search.since is None else f" from {format_instant(search.since)}"
        raise NotFound(
            f"{topic} has no event {name}{since} until {format_instant(before)}, as far as it was looked for: {search.looked} "
            "records; it may be older, or no longer there"
        )
    return respond(told(found))


async def chain(request: Request[HasSurvey]) -> Response:
    """GET /v1/topics/{topic}/chain: the events of chains of causes: those with one of these correlation ids, or one as their id.

    Without their data. Looks at events in binary mode from an instant on, at 100,000 records of the topic, for 500 events and 8 s
    at most: `looked` says at how many; where that was not all that there is, `whole` is false, and `until` says up to when.
    """
    deps, chains, since = request.deps, request.get(OF), request.get(FROM)
    if not chains or since is None:
        raise Invalid("say of what, and since when: of=<correlation id>,<another>&from=<instant>")
    topic = await known(request)
    partitions = [(topic, number) for number in range(await deps.catalog.partitions(topic))]
    gathering = Gathering(deps.settings.kafka, _client(request), deps.survey, chains)
    await gathering.forwards(partitions, since)
    until = None if gathering.until is None else format_instant(gathering.until)
    events = []
    for record in gathering.found[:SHOWN]:
        with suppress(Invalid):  # it has the header, and is no event for all that
            events.append(told(record))
    return respond({"events": events, "looked": gathering.looked, "whole": gathering.whole, "until": until})


def _client(request: Request[HasSurvey]) -> str:
    return f"broker-{request.deps.settings.instance}-{time.monotonic_ns()}"


async def _readable(request: Request[HasSurvey]) -> str:
    """The topic that the path names, one of the deltas of a projection, too. Raises as `known` does."""
    name = request.path("topic")
    projection = projection_of(request.deps.settings.mesh, name)
    if projection is None:
        return await known(request)
    request.principal.require("views:read", projection)
    await request.deps.catalog.check(check_id(name, "topic"))
    return name


def told(record: Received) -> dict[str, Any]:
    """Where a record stands, and the envelope of its event."""
    event = Incoming(record.headers(), record.value(), f"{record.topic()}", record.timestamp()[1]).event()
    return {
        "topic": record.topic(),
        "partition": record.partition(),
        "offset": record.offset(),
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "time": format_instant(event.time),
        "recorded_time": format_instant(from_us(1000 * record.timestamp()[1])),
        "subject": event.subject,
        "correlation_id": event.correlation_id,
        "causation_id": event.causation_id,
        "traceparent": event.traceparent,
    }


ROUTES = (
    Route("GET", "/v1/topics/{topic}/find", find, "topics:read", (WANTED, BEFORE), of="topic"),
    Route("GET", "/v1/topics/{topic}/chain", chain, "topics:read", (OF, FROM), of="topic"),
)
