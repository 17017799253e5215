# SPDX-License-Identifier: Apache-2.0
"""What becomes of the events of one request: middleware, schemas, keys, then Kafka by the guarantee that was asked for."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, cast

from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from nerv.bus import Passed
from nerv.cloudevents import to_headers
from nerv.errors import NervError, Refused, UnknownOutcome
from nerv.kafka import Outgoing, Position, Producer
from nerv.kafka.deadletters import DOOR, Place, door_letter
from nerv.service import Request
from nerv.service.params import IDEMPOTENCY_KEY, choice
from nerv.telemetry import carrier, recording, span
from nerv.telemetry import names as n
from nerv.telemetry.traffic import saw
from nerv.types import Event, check_id
from nerv_broker.catalog import HasCatalog
from nerv_broker.middleware import Chains
from nerv_broker.model import Keyed, keyed
from nerv_broker.publishing.counting import count_published
from nerv_broker.publishing.judging import Outcome, Placed, Publication, content_digest, identities, placed_at
from nerv_broker.publishing.publisher import Publisher

UNTOLD = nullcontext()

_placed: Callable[..., Placed] = tuple.__new__  # takes half the time that a NamedTuple's constructor takes


class Guarantee(StrEnum):
    """What a publish promises when it is repeated."""

    ONCE = "once"
    AT_LEAST_ONCE = "at-least-once"


GUARANTEE = choice(
    "guarantee",
    Guarantee.ONCE,
    "once: a repeat with the same ids writes nothing. at-least-once: no ids are looked at, a repeat is written again.",
)


class CanPublish(HasCatalog, Protocol):
    """What these handlers work with."""

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


@dataclass(frozen=True, slots=True)
class Kept:
    """An event that does not fit its topic, and stands among the dead letters. `error` is why, where that is known."""

    topic: str
    place: Place
    duplicate: bool
    error: NervError | None


Taken = Outcome | Dropped | Kept

KnownBy = Callable[[int], tuple[bytes, ...]]
"""By what a repeat of an event of the request is known; the event by its index."""


async def take(
    request: Request[CanPublish], topic: str, events: Sequence[Event[bytes]], places: Sequence[int]
) -> list[Taken]:
    """Publish the events of a request; `places` are their places in it. Outcomes in order.

    Raises SchemaMismatch or Refused, with index, id and cause of each that does not fit: then nothing was published.
    """
    key, who = request.get(IDEMPOTENCY_KEY), request.principal.subject
    if key is not None:
        check_id(key, "Idempotency-Key")

    def known_by(index: int) -> tuple[bytes, ...]:
        return identities(topic, events[index], places[index], key, who)

    once = request.get(GUARANTEE) is Guarantee.ONCE
    keeps = request.deps.app.keeps_invalid(topic)
    return await publish_all(request.deps, topic, events, known_by if once else None, keeps_invalid=keeps)


async def publish_all(
    deps: CanPublish,
    topic: str,
    events: Sequence[Event[bytes]],
    known_by: KnownBy | None,
    *,
    keeps_invalid: bool = False,
) -> list[Taken]:
    """Through middleware, schemas and keys to Kafka: once by what they are known by, else at least once. Outcomes in order.

    Raises as `take`; with `keeps_invalid` those that do not fit become dead letters.
    """
    passed = deps.chains.published(topic, events, keeps_invalid=keeps_invalid)
    for other in {one.topic for one in passed} - {topic}:
        await deps.catalog.check(other)
    with _sending(topic, len(events)) if recording() else UNTOLD as current:
        rows = keyed(passed, deps.app, carrier(), (topic, events) if keeps_invalid else None)
        if known_by is None:
            outcomes = await _plainly(deps, rows)
        else:
            left = [one.index for one in passed if not _dropped(one)]
            publications = [
                Publication(
                    row.topic, row.key, row.event, known_by(index), content_digest(events[index]),
                    None if row.unfit is None else row.unfit.detail,
                )
                for index, row in zip(left, rows, strict=True)
            ]  # fmt: skip
            outcomes = await deps.publisher.publish(publications)
        if current is not None and current.is_recording():
            current.set_attributes(placed_at(outcomes))
    saw("service:broker", f"topic:{topic}", len(rows))
    letters = deps.settings.deadletters
    taken: list[Taken] = [
        _kept(row, outcome, topic) if isinstance(outcome, Placed) and outcome.topic == letters else outcome
        for row, outcome in zip(rows, outcomes, strict=True)
    ]
    if len(taken) == len(passed):
        return taken
    rest = iter(taken)
    return [Dropped(one.by[-1]) if _dropped(one) else next(rest) for one in passed]


def _sending(topic: str, count: int) -> AbstractContextManager[Any]:
    attributes: dict[str, AttributeValue] = {
        n.SYSTEM: n.KAFKA,
        n.OPERATION_NAME: "send",
        n.OPERATION_TYPE: "send",
        n.DESTINATION: topic,
        n.BATCH_COUNT: count,
    }
    return span(n.send(topic), SpanKind.PRODUCER, attributes=attributes)


def _dropped(one: Passed) -> bool:
    return one.event is None and one.error is None


async def _plainly(deps: CanPublish, rows: Sequence[Keyed]) -> list[Outcome]:
    found = await deps.producer.publish([_record(one, deps.settings.deadletters) for one in rows])
    count_published([one for one, place in zip(rows, found, strict=True) if type(place) is Position])
    return [_placed(Placed, (*one, False)) if type(one) is Position else cast("NervError", one) for one in found]


def _record(one: Keyed, deadletters: str) -> Outgoing:
    if one.unfit is None:
        return Outgoing(one.topic, one.event.data, one.key, to_headers(one.event))
    return door_letter(one.topic, one.event, one.key, one.unfit.detail).outgoing(deadletters)


def _kept(row: Keyed, placed: Placed, topic: str) -> Kept:
    """An event that is known may be a letter, though it fits by now."""
    return Kept(topic, Place(placed.partition, placed.offset), placed.duplicate, row.unfit)


def document(event: Event[bytes], outcome: Taken) -> dict[str, object]:
    """What is told of one event."""
    if isinstance(outcome, Placed):
        topic, partition, offset, duplicate = outcome
        told: dict[str, object] = {"id": event.id, "topic": topic, "partition": partition, "offset": offset}
        return told | {"duplicate": True} if duplicate else told
    if isinstance(outcome, Dropped):
        return {"id": event.id, "dropped": outcome.by}
    if isinstance(outcome, NervError):
        return {"id": event.id, "error": type(outcome).__name__, "detail": outcome.detail}
    return _letter(event, outcome)


def _letter(event: Event[bytes], kept: Kept) -> dict[str, object]:
    told: dict[str, object] = {"id": event.id, "deadletter": str(kept.place), "subscription": f"{DOOR}{kept.topic}"}
    if kept.error is not None:
        told |= {"detail": kept.error.detail, "errors": kept.error.errors}
    return told | {"duplicate": True} if kept.duplicate else told


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
