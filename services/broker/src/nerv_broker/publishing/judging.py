# SPDX-License-Identifier: Apache-2.0
"""The decisions of an idempotent publish, pure: what an event is known by, and what one transaction writes."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from opentelemetry.util.types import AttributeValue

from nerv.errors import IdConflict, NervError
from nerv.kafka.deadletters import Origin
from nerv.telemetry.touched import places
from nerv.types import Event
from nerv.types.frozen import frozen

HASH_BYTES = 16


class Receipt(NamedTuple):
    """What a published event is remembered by: a digest of its content, and where it stands."""

    digest: bytes
    topic: str
    partition: int
    offset: int


class Placed(NamedTuple):
    """Where an event stands; `duplicate` when it stood there before."""

    topic: str
    partition: int
    offset: int
    duplicate: bool = False


Outcome = Placed | NervError
"""Placed; or an error whose class says refused, not done or unknown."""


def placed_at(outcomes: Sequence[Outcome]) -> dict[str, AttributeValue]:
    """Where these stand, as attributes of a span."""
    return places([(one.topic, one.partition, one.offset) for one in outcomes if isinstance(one, Placed)])


@frozen
class Publication:
    """An event on its way to `topic`, under `key` (None: Kafka spreads it), and by what a repeat of it is known.

    `unfit` says why it does not fit the topic: then it becomes a dead letter.
    """

    topic: str
    key: bytes | None
    event: Event[bytes]
    ids: tuple[bytes, ...]
    digest: bytes
    unfit: str | None = None


def identities(topic: str, event: Event[bytes], place: int, idempotency_key: str | None, who: str) -> tuple[bytes, ...]:
    """By what a repeat of an event is known: its source and id, and the Idempotency-Key that its caller sent for the request,
    with its place in it. A key is the caller's own (`who`).
    """
    by_id = _hash(topic, "id", event.source, event.id)
    if idempotency_key is None:
        return (by_id,)
    return (_hash(topic, "key", who, idempotency_key, str(place)), by_id)


def replay_identity(origin: Origin) -> tuple[bytes, ...]:
    """By what a letter of a door is known that is published after all: by its own id the letter is known already."""
    return (_hash(str(origin), "replayed"),)


def content_digest(event: Event[bytes]) -> bytes:
    """16 bytes over what makes the content. Id and time are left out: who repeats a request by its Idempotency-Key may make
    them anew, and a time that was left out was set at the door.
    """
    attributes = (
        event.source,
        event.type,
        event.subject or "",
        event.partition_key or "",
        event.content_type,
        event.dataschema or "",
        event.correlation_id or "",
        event.causation_id or "",
    )
    return _hash(*attributes, data=event.data)


def _hash(*parts: str, data: bytes = b"") -> bytes:
    digest = hashlib.blake2b("\x00".join(parts).encode(), digest_size=HASH_BYTES)
    if data:
        digest.update(b"\x00")
        digest.update(data)
    return digest.digest()


def owner_key(publication: Publication) -> str:
    """What decides who owns a publication: topic and key, so that those of one key stand in order; without a key its id."""
    key = publication.event.id if publication.key is None else publication.key.decode("utf-8", "surrogateescape")
    return f"{publication.topic}\x00{key}"


Verdict = int | Placed | IdConflict
"""Which of the written ones it is; where it stands already; or that its id stands for something else."""


@dataclass(slots=True)
class Plan:
    """What one transaction writes, and what becomes of each event that was asked for."""

    written: list[Publication] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)


def plan(asked: Sequence[Publication], known: Callable[[bytes], Receipt | None]) -> Plan:
    """Judge them in order, each seeing those before it: two with the same id share one record."""
    made = Plan()
    here: dict[bytes, int] = {}
    for one in asked:
        verdict = _here(one, made.written, here)
        if verdict is None:
            verdict = _known(one, known)
        if verdict is None:
            verdict = len(made.written)
            made.written.append(one)
            for name in one.ids:
                here[name] = verdict
        made.verdicts.append(verdict)
    return made


def _here(one: Publication, written: Sequence[Publication], here: dict[bytes, int]) -> Verdict | None:
    index = next((here[name] for name in one.ids if name in here), None)
    if index is None:
        return None
    return index if written[index].digest == one.digest else _conflict(one)


def _known(one: Publication, known: Callable[[bytes], Receipt | None]) -> Verdict | None:
    found = next((receipt for name in one.ids if (receipt := known(name)) is not None), None)
    if found is None:
        return None
    if found.digest != one.digest:
        return _conflict(one)
    return Placed(found.topic, found.partition, found.offset, duplicate=True)


def _conflict(one: Publication) -> IdConflict:
    return IdConflict(
        f"{one.topic} has event {one.event.id} of {one.event.source}, or this Idempotency-Key, with other content; "
        "repeat the request as it was, or use a new id"
    )
