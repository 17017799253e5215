# SPDX-License-Identifier: Apache-2.0
"""What people do with dead letters. The letters are read where they stand, what is decided goes into the subscription's books."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from nerv.client import Client
from nerv.errors import Conflict, Invalid, NotFound, TooLarge, Unavailable
from nerv.kafka import Position, Producer
from nerv.kafka.deadletters import DOOR, DeadLetter, Headers, Origin, Place
from nerv.kafka.survey import Survey
from nerv.limits import check_event_size
from nerv.subscriptions import Books, Fact, Ledger, State
from nerv.subscriptions.books import load
from nerv.subscriptions.deciding import discard, door_edited, door_state, edited, release, replay
from nerv_broker.deadletters.reading import Found, LetterBox
from nerv_broker.groups import Groups
from nerv_broker.settings import BrokerSettings

WINDOW = 500  # letters of a partition that are read at a time, backwards
SCANNED = 10_000  # letters that one page looks at, at most
AT_ONCE = 5000  # letters that one request decides about
NAMED = 20  # subscriptions whose ledgers one page reads


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which letters of a subscription: by id, those of a key, or all that are dead. `rate` is letters a second at most."""

    places: Sequence[Place] = ()
    key: str | None = None
    everything: bool = False
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A letter of a page, and what its subscription says of it: dead, replaying, settled, or untracked."""

    found: Found
    state: str
    held: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """The newest letters first. `before` is where the next page goes on; None at the end."""

    letters: Sequence[Listed]
    before: Mapping[int, int] | None


class Office:
    """Where dead letters are seen to."""

    def __init__(
        self, settings: BrokerSettings, client: Client, producer: Producer, groups: Groups, survey: Survey
    ) -> None:
        self._settings, self._client, self._producer, self._groups = settings, client, producer, groups
        self._survey = survey
        self._box = LetterBox(settings.kafka, f"broker-{settings.instance}", settings.deadletters)

    async def page(self, wanted: Callable[[DeadLetter], bool], limit: int, before: Mapping[int, int] | None) -> Page:
        """The newest letters that are wanted, before a place in each partition. Raises Unavailable."""
        left = {p: (low, min(high, (before or {}).get(p, high))) for p, (low, high) in (await self._spans()).items()}
        found: list[Found] = []
        scanned = 0
        while len(found) < limit and scanned < SCANNED and any(low < high for low, high in left.values()):
            window = {p: (max(low, high - WINDOW), high) for p, (low, high) in left.items() if low < high}
            part = sorted([one async for one in self._box.read(window)], key=lambda one: one[1::-1], reverse=True)
            left |= {p: (left[p][0], start) for p, (start, _) in window.items()}
            for index, one in enumerate(part):
                if one.letter is not None and wanted(one.letter):
                    found.append(one)
                if len(found) == limit:
                    # What was read and not shown is read again for the next page.
                    rest = part[index + 1 :]
                    left |= {p: (left[p][0], _after(rest, p, left[p][1])) for p in window}
                    break
            scanned += len(part)
        more = any(low < high for low, high in left.values())
        listed = await self._listed(found)
        return Page(listed, {p: high for p, (_, high) in left.items()} if more else None)

    async def fetch(self, places: Sequence[Place]) -> dict[Place, DeadLetter]:
        """The letters that stand at these places. Raises Unavailable."""
        spans = await self._spans()
        there = [place for place in places if _within(place, spans)]
        return await self._box.fetch(there)

    async def everything(self) -> AsyncGenerator[Found, None]:
        """All letters there are, those of a partition in order. Raises Unavailable."""
        async with aclosing(self._box.read(await self._spans())) as letters:
            async for one in letters:
                yield one

    async def _spans(self) -> dict[int, tuple[int, int]]:
        """All that stands among the dead letters now."""
        everything = [(self._settings.deadletters, partition) for partition in range(self._settings.partitions)]
        starts, ends = await self._survey.starts(everything), await self._survey.ends(everything)
        return {partition[1]: (starts[partition], ends[partition]) for partition in everything}

    async def _listed(self, found: Sequence[Found]) -> list[Listed]:
        names = dict.fromkeys(one.letter.by for one in found if one.letter is not None)
        ledgers = {name: await self.ledger(name) for name in list(names)[:NAMED]}
        return [_listed(one, ledgers.get(one.letter.by if one.letter else "", Ledger())) for one in found]

    async def letter(self, subscription: str, place: Place) -> tuple[DeadLetter, Listed]:
        """One letter. Raises NotFound."""
        if _within(place, await self._spans()):
            async for found in self._box.read({place.partition: (place.offset, place.offset + 1)}):
                if found.letter is not None and found.letter.by == subscription:
                    return found.letter, _listed(found, await self.ledger(subscription))
        raise NotFound(f"{place} is no dead letter of {subscription}; GET /v1/deadletters lists them")

    async def ledger(self, subscription: str) -> Ledger:
        """What a subscription says of its letters; an empty one where it keeps no books, or they cannot be read now."""
        hosted = self._groups.find(subscription)
        if hosted is not None:
            return hosted.books.ledger
        if self._settings.services.temporal is None:
            return Ledger()
        try:
            return await load(self._client.streams, subscription)
        except (Invalid, TooLarge, Unavailable):
            # What is no name of a stream keeps no books; without temporal the letters can be seen all the same.
            return Ledger()

    async def replay(self, subscription: str, chosen: Chosen, who: str) -> int:
        """These letters go to the subscription again, and to nobody else; how many. Raises NotFound or Conflict."""

        count = 0

        def rule(ledger: Ledger) -> Sequence[Fact]:
            nonlocal count
            origins = _origins(ledger, chosen)
            count = sum(ledger.letters[origin].state is State.DEAD for origin in origins)
            if chosen.key is not None:
                return release(ledger, chosen.key, who, chosen.rate)
            return replay(ledger, origins, who, chosen.rate)

        await self._decide(subscription, rule)
        return count

    async def discard(self, subscription: str, chosen: Chosen, who: str, why: str) -> int:
        """Nobody wants these letters; how many. Raises NotFound or Conflict."""
        facts = await self._decide(subscription, lambda ledger: discard(ledger, _origins(ledger, chosen), who, why))
        return sum(len(fact.data["origins"]) for fact in facts)

    async def edit(
        self, subscription: str, place: Place, change: Callable[[DeadLetter], tuple[bytes | None, Headers]], who: str
    ) -> Place:
        """Write an edition of a letter, which a replay takes from now on; where it stands. Raises NotFound or Conflict.

        After an unknown outcome the edition may stand there unused: look at the letter again.
        """
        letter, listed = await self.letter(subscription, place)
        if listed.state != State.DEAD:
            raise Conflict(f"{place} is {listed.state}; only a letter that is dead, in its last edition, can be edited")
        value, headers = change(letter)
        made = replace(letter, value=value, headers=headers, edited=place)
        check_event_size(len(value or b""), self._settings.limits)
        [delivery] = await self._producer.publish([made.outgoing(self._settings.deadletters)])
        if not isinstance(delivery, Position):
            raise delivery
        new = Place(delivery.partition, delivery.offset)

        def rule(ledger: Ledger) -> Sequence[Fact]:
            if letter.origin.at_door:
                return door_edited(ledger, letter.origin, place, new, who)
            known = ledger.letters.get(letter.origin)
            if known is not None and known.place != place:
                raise Conflict(f"{place} has a later edition, {known.place}")
            return edited(ledger, letter.origin, new, who)

        await self._decide(subscription, rule)
        return new

    async def record(self, subscription: str, facts: Sequence[Fact]) -> None:
        """Add to the books of a door what was decided. Raises Unavailable or UnknownOutcome."""
        await self._decide(subscription, lambda ledger: facts)

    async def _decide(self, subscription: str, rule: Callable[[Ledger], Sequence[Fact]]) -> Sequence[Fact]:
        async with self._groups.books(subscription) as books:
            known = books if subscription.startswith(DOOR) else _known(books)
            return await known.decide(rule)


def _within(place: Place, spans: Mapping[int, tuple[int, int]]) -> bool:
    """Nobody who reads ever comes to what is behind the end."""
    low, high = spans.get(place.partition, (0, 0))
    return low <= place.offset < high


def _known(books: Books) -> Books:
    if books.ledger.version == 0:
        raise NotFound(
            f"{books.name} keeps no books of its dead letters, so that none can be replayed to it; "
            "a projection is built anew by `nerv projections rebuild`"
        )
    return books


def _listed(found: Found, ledger: Ledger) -> Listed:
    if found.letter is not None and found.letter.origin.at_door:
        return Listed(found, door_state(found.letter.origin, found.place, ledger))
    letter = None if found.letter is None else ledger.letters.get(found.letter.origin)
    if letter is not None and letter.place == found.place:
        return Listed(found, letter.state.value, letter.held)
    return Listed(found, "settled" if ledger.version else "untracked")


def _after(rest: Sequence[Found], partition: int, low: int) -> int:
    """Before which offset the next page goes on in a partition: behind the newest of those that were not shown."""
    return max((one.place.offset + 1 for one in rest if one.place.partition == partition), default=low)


def _origins(ledger: Ledger, chosen: Chosen) -> list[Origin]:
    if chosen.places:
        by_place = {letter.place: letter.origin for letter in ledger.letters.values()}
        gone = [str(place) for place in chosen.places if place not in by_place]
        if gone:
            raise NotFound(f"{gone[0]} is settled, or has a later edition", errors=[{"letters": gone}])
        return [by_place[place] for place in chosen.places]
    if chosen.key is not None:
        return [letter.origin for lane in ledger.lanes_of(chosen.key) for letter in ledger.lane(lane)]
    dead = sorted(letter.origin for letter in ledger.letters.values() if letter.state is State.DEAD)
    return dead[:AT_ONCE]
