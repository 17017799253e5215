# SPDX-License-Identifier: Apache-2.0
"""What becomes of the events of one request: middleware, schemas, keys, then Kafka by the guarantee that was asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from nerv.app import App
from nerv.errors import NervError, Refused, UnknownOutcome
from nerv.kafka import Outgoing, Producer
from nerv.service import Request
from nerv.service.params import IDEMPOTENCY_KEY, choice
from nerv.telemetry import carrier, span
from nerv.telemetry import names as n
from nerv.types import Event, check_id
from nerv_broker.catalog import Catalog
from nerv_broker.middleware import Chains
from nerv_broker.model import Keyed, keyed
from nerv_broker.publishing.judging import Outcome, Placed, Publication, content_digest, identities
from nerv_broker.publishing.publisher import Publisher
from nerv_broker.settings import BrokerSettings


class Guarantee(StrEnum):
    """What a publish promises when it is repeated."""

    ONCE = "once"
    AT_LEAST_ONCE = "at-least-once"


GUARANTEE = choice(
    "guarantee",
    Guarantee.ONCE,
    "once: a repeat with the same ids writes nothing. at-least-once: no ids are looked at, a repeat is written again.",
)


class CanPublish(Protocol):
    """What these handlers work with."""

    @property
    def settings(self) -> BrokerSettings:
        """The broker's."""
        ...

    @property
    def app(self) -> App:
        """What is hosted."""
        ...

    @property
    def catalog(self) -> Catalog:
        """The topics there are."""
        ...

    @property
    def chains(self) -> Chains:
        """The middleware of topics."""
        ...

    @property
    def producer(self) -> Producer:
        """Publishes at least once."""
        ...

    @property
    def publisher(self) -> Publisher:
        """Publishes once."""
        ...


@dataclass(frozen=True, slots=True)
class Dropped:
    """An event that a middleware dropped, by the rules of the app."""

    by: str


Taken = Outcome | Dropped


async def take(
    request: Request[CanPublish], topic: str, events: Sequence[Event[bytes]], places: Sequence[int]
) -> list[Taken]:
    """Publish the events of a request; `places` are their places in it. Outcomes in order.

    Raises SchemaMismatch or Refused, with index, id and cause of each that does not fit: then nothing was published.
    """
    deps = request.deps
    passed = deps.chains.published(topic, events)
    for other in {one.topic for one in passed} - {topic}:
        await deps.catalog.partitions(other)
    attributes: dict[str, AttributeValue] = {
        n.SYSTEM: n.KAFKA,
        n.OPERATION_NAME: "send",
        n.OPERATION_TYPE: "send",
        n.DESTINATION: topic,
        n.BATCH_COUNT: len(events),
    }
    with span(f"send {topic}", SpanKind.PRODUCER, attributes=attributes):
        rows = keyed(passed, deps.app, carrier())
        if request.get(GUARANTEE) is Guarantee.AT_LEAST_ONCE:
            outcomes = await _plainly(deps.producer, rows)
        else:
            left = [one.index for one in passed if one.event is not None]
            publications = _known_by(request, topic, [events[i] for i in left], [places[i] for i in left], rows)
            outcomes = await deps.publisher.publish(publications)
    rest = iter(outcomes)
    return [Dropped(one.by[-1]) if one.event is None else next(rest) for one in passed]


async def _plainly(producer: Producer, rows: Sequence[Keyed]) -> list[Outcome]:
    records = [Outgoing(one.topic, one.event.data, one.key, one.headers) for one in rows]
    found = await producer.publish(records)
    return [one if isinstance(one, NervError) else Placed(*one) for one in found]


def _known_by(
    request: Request[CanPublish],
    topic: str,
    sent: Sequence[Event[bytes]],
    places: Sequence[int],
    rows: Sequence[Keyed],
) -> list[Publication]:
    """The publications of rows, each known by the event as it was sent: middleware may make of it what it will."""
    key, who = request.get(IDEMPOTENCY_KEY), request.principal.subject
    if key is not None:
        check_id(key, "Idempotency-Key")
    return [
        Publication(row.topic, row.key, row.event, identities(topic, event, place, key, who), content_digest(event))
        for event, place, row in zip(sent, places, rows, strict=True)
    ]


def document(event: Event[bytes], outcome: Taken) -> dict[str, object]:
    """What is told of one event."""
    if isinstance(outcome, Dropped):
        return {"id": event.id, "dropped": outcome.by}
    if isinstance(outcome, NervError):
        return {"id": event.id, "error": type(outcome).__name__, "detail": outcome.detail}
    told: dict[str, object] = {
        "id": event.id, "topic": outcome.topic, "partition": outcome.partition, "offset": outcome.offset,
    }  # fmt: skip
    return told | {"duplicate": True} if outcome.duplicate else told


def worst(events: Sequence[Event[bytes]], outcomes: Sequence[Taken]) -> NervError | None:
    """The error that stands for all of a request's events, with what is told of each; None when all are published."""
    failed = [one for one in outcomes if isinstance(one, NervError)]
    if not failed:
        return None
    documents = [document(event, one) for event, one in zip(events, outcomes, strict=True)]
    first = failed[0]
    if len(failed) == len(outcomes) and len({type(error) for error in failed}) == 1:
        return type(first)(first.detail, errors=documents, retry_after=first.retry_after)
    told = f"{len(failed)} of {len(outcomes)} events are not"
    if all(isinstance(error, Refused) for error in failed):
        return type(first)(f"{told} published, the others are: {first.detail}", errors=documents)
    return UnknownOutcome(f"{told} surely published, the others are; repeat all with the same ids", errors=documents)
