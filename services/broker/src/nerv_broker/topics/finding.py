# SPDX-License-Identifier: Apache-2.0
"""Find an event of a topic by its id: looked for backwards from an instant, in steps, until so many records are looked at."""

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from starlette.responses import Response

from nerv.cloudevents import Incoming
from nerv.cloudevents.proto_format import to_us
from nerv.errors import Invalid, NotFound
from nerv.kafka import BatchConsumer, KafkaSettings, Received
from nerv.kafka.survey import Survey
from nerv.service import Request, Route, respond
from nerv.service.params import ID, instant, text
from nerv.types import check_id, format_instant, utc_now
from nerv_broker.topics.handlers import HasTopics, known

WANTED = text("id", "The event's id.", ID)
BEFORE = instant("before", "It was written by then; now where it is left out. It is looked for from there backwards.")
BACK = (2.0, 30.0, 600.0, 86_400.0)  # s: what caused something stands most often close before it
MOST = 100_000  # records, of which a tenth of a second reads some ten thousand
SECONDS = 8.0
AFTER = timedelta(seconds=1)  # clocks of brokers and of owners differ

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
        until = {one: stop for one, stop in stops.items() if stop > starts[one]}
        if not until:
            return None
        assign = {one: starts[one] for one in until}
        async with BatchConsumer(self._kafka, self._name, self._name, assign=assign, ends=True) as consumer:
            async for records in consumer.batches_to(until):
                self.looked += len(records)
                for record in records:
                    if ("ce_id", self._wanted) in (record.headers() or ()):
                        return record
        return None


async def find(request: Request[HasSurvey]) -> Response:
    """GET /v1/topics/{topic}/find: where the event of an id stands, and its envelope without its data.

    Looks at events in binary mode, a day back, at most 100,000 records of the topic: 404 says how far it has looked.
    """
    deps, name = request.deps, request.get(WANTED)
    if name is None:
        raise Invalid("say which event: id=<its id>")
    topic = await known(request)
    partitions = [(topic, number) for number in range(await deps.catalog.partitions(topic))]
    search = Search(
        deps.settings.kafka, f"broker-{deps.settings.instance}-{time.monotonic_ns()}", deps.survey, check_id(name, "id")
    )
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
        "subject": event.subject,
        "correlation_id": event.correlation_id,
        "causation_id": event.causation_id,
        "traceparent": event.traceparent,
    }


ROUTES = (Route("GET", "/v1/topics/{topic}/find", find, "topics:read", (WANTED, BEFORE), of="topic"),)
