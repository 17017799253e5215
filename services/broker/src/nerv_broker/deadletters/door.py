# SPDX-License-Identifier: Apache-2.0
"""Letters of a topic's door: events that did not fit it. To replay one is to publish it, through the same checks.

No subscriber keeps a list of them: they are those of `door:<topic>` among the dead letters that its books do not call settled.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Protocol

from nerv.cloudevents import from_record
from nerv.errors import Invalid, NervError, NotFound, Refused
from nerv.kafka.deadletters import DOOR, DeadLetter, Origin, Place
from nerv.service import Request
from nerv.subscriptions import State, key_text
from nerv.subscriptions.deciding import discarded, door_state, replayed, resolved
from nerv.types import Event
from nerv_broker.deadletters.office import AT_ONCE, Chosen, Office
from nerv_broker.publishing.judging import replay_identity
from nerv_broker.publishing.taking import CanPublish, publish_all, worst


class CanPublishLetters(CanPublish, Protocol):
    """What this works with."""

    @property
    def office(self) -> Office:
        """Where letters are seen to."""
        ...


Row = tuple[Place, DeadLetter]


async def replay_at_door(request: Request[CanPublishLetters], name: str, chosen: Chosen) -> int:
    """Publish these letters to their topic, once, however often it is asked for; how many are settled by that.

    What is not published stays dead: raises what publishing raises. A part of many may be published by then, and is settled.
    """
    if chosen.rate is not None:
        raise Invalid(f"{name} is a topic's door, whose letters are published as fast as can be; leave rate out")
    topic = await request.deps.catalog.public(name.removeprefix(DOOR))
    request.principal.require("topics:publish", topic)
    rows = await dead_at_door(request.deps.office, name, chosen)
    batch, count = request.deps.settings.limits.batch, 0
    for at in range(0, len(rows), batch):
        count += await _publish(request, name, topic, rows[at : at + batch])
    return count


async def discard_at_door(request: Request[CanPublishLetters], name: str, chosen: Chosen, why: str) -> int:
    """Nobody wants these letters; how many. Raises NotFound."""
    office = request.deps.office
    rows = await dead_at_door(office, name, chosen)
    await office.record(name, discarded([letter.origin for _, letter in rows], request.principal.subject, why))
    return len(rows)


async def dead_at_door(office: Office, name: str, chosen: Chosen) -> list[Row]:
    """The letters that are chosen, in their order; AT_ONCE at most. Raises NotFound for one that is not dead."""
    if chosen.places:
        return await _named_ones(office, name, sorted(chosen.places))
    found: list[Row] = []
    async with aclosing(_all_dead(office, name)) as rows:
        async for place, letter in rows:
            if chosen.key is None or key_text(letter.key) == chosen.key:
                found.append((place, letter))
            if len(found) == AT_ONCE:
                break
    return sorted(found, key=lambda row: row[1].origin)


async def _named_ones(office: Office, name: str, places: Sequence[Place]) -> list[Row]:
    letters, ledger = await office.fetch(places), await office.ledger(name)
    rows = [(place, letter) for place in places if (letter := letters.get(place)) is not None and letter.by == name]
    dead = [row for row in rows if row[1].origin.at_door and door_state(row[1].origin, row[0], ledger) == State.DEAD]
    gone = sorted(set(places) - {place for place, _ in dead})
    if gone:
        raise NotFound(
            f"{gone[0]} is no dead letter of {name}, is settled, or has a later edition",
            errors=[{"letters": [str(place) for place in gone]}],
        )
    return dead


async def _all_dead(office: Office, name: str) -> AsyncGenerator[Row, None]:
    ledger = await office.ledger(name)
    async with aclosing(office.everything()) as letters:
        async for place, _, letter in letters:
            if letter is None or letter.by != name or not letter.origin.at_door:
                continue
            if door_state(letter.origin, place, ledger) == State.DEAD:
                yield place, letter


async def _publish(request: Request[CanPublishLetters], name: str, topic: str, rows: Sequence[Row]) -> int:
    office, origins = request.deps.office, [letter.origin for _, letter in rows]
    events = [_event(place, letter) for place, letter in rows]
    await office.record(name, replayed(origins, request.principal.subject))
    try:
        known_by = [replay_identity(origin) for origin in origins]
        outcomes = await publish_all(request.deps, topic, events, known_by.__getitem__)
    except Refused as error:
        raise _named(error, rows) from None
    done: list[Origin] = [
        origin for origin, one in zip(origins, outcomes, strict=True) if not isinstance(one, NervError)
    ]
    await office.record(name, resolved(done))
    failed = worst(events, outcomes)
    if failed is not None:
        raise failed
    return len(done)


def _event(place: Place, letter: DeadLetter) -> Event[bytes]:
    try:
        return from_record(letter.headers, letter.value, origin=str(letter.origin), timestamp_ms=letter.timestamp_ms)
    except Invalid as error:
        raise Invalid(f"letter {place} is no event any more; edit its headers: {error.detail}") from None


def _named(error: Refused, rows: Sequence[Row]) -> Refused:
    """The refusal with the letter of each fault."""
    faults = [
        {**fault, "letter": str(rows[fault["index"]][0])} if "index" in fault else fault for fault in error.errors
    ]
    return type(error)(error.detail, errors=faults)
