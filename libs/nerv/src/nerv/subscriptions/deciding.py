# SPDX-License-Identifier: Apache-2.0
"""What people may decide about dead letters: replay, release, discard, edit. Pure: a ledger in, facts out, or a refusal."""

from collections.abc import Iterable, Sequence

from nerv.errors import Conflict, NotFound
from nerv.kafka.deadletters import Origin, Place
from nerv.subscriptions.facts import Fact, Kind
from nerv.subscriptions.ledger import Ledger, Letter, State

IN_ONE = 100  # letters that one event tells of: each may take more than a thousand bytes


def replay(ledger: Ledger, origins: Sequence[Origin], who: str, rate: float | None = None) -> list[Fact]:
    """These letters go to the subscriber again, and to nobody else. Those that are on their way already stay so.

    The letters of a key go in order: raises Conflict for one that has an earlier one which stays dead; NotFound for one that
    is not in the ledger.
    """
    letters = _known(ledger, origins)
    wanted = set(origins)
    for letter in letters:
        _check_order(ledger, letter, wanted)
    return replayed(sorted(one.origin for one in letters if one.state is State.DEAD), who, rate)


def replayed(origins: Sequence[Origin], who: str, rate: float | None = None) -> list[Fact]:
    """These letters, whatever the ledger says of them; for those of a door, which no ledger lists."""
    return [
        Fact(Kind.REPLAYED, {"origins": [str(o) for o in origins[at : at + IN_ONE]], "rate": rate, "who": who})
        for at in range(0, len(origins), IN_ONE)
    ]


def _check_order(ledger: Ledger, letter: Letter, wanted: set[Origin]) -> None:
    if letter.lane is None:
        return
    for earlier in ledger.lane(letter.lane):
        if earlier.origin == letter.origin:
            return
        if earlier.state is State.DEAD and earlier.origin not in wanted:
            raise Conflict(
                f"{letter.origin} comes after {earlier.origin}, which has the same key and is dead; "
                "replay or discard that one first, or release the key"
            )


def release(ledger: Ledger, key: str, who: str, rate: float | None = None) -> list[Fact]:
    """All letters of a key go to the subscriber again, in order; then the key goes on. Raises NotFound."""
    if not ledger.lanes_of(key):
        raise NotFound(f"key {key[:100]!r} is not parked")
    return [Fact(Kind.RELEASED, {"key": key, "rate": rate, "who": who})]


def discard(ledger: Ledger, origins: Sequence[Origin], who: str, why: str) -> list[Fact]:
    """Nobody wants these letters any more; a key without letters goes on. Raises NotFound, or Conflict for one on its way."""
    for letter in _known(ledger, origins):
        if letter.state is not State.DEAD:
            raise Conflict(f"{letter.origin} is being replayed; wait until it is settled")
    return discarded(origins, who, why)


def discarded(origins: Sequence[Origin], who: str, why: str) -> list[Fact]:
    """These letters, whatever the ledger says of them; for those of a door, which no ledger lists."""
    return [
        Fact(Kind.DISCARDED, {"origins": [str(o) for o in origins[at : at + IN_ONE]], "who": who, "why": why})
        for at in range(0, len(origins), IN_ONE)
    ]


def edited(ledger: Ledger, origin: Origin, place: Place, who: str) -> list[Fact]:
    """A replay of this letter takes its edition at `place`. Raises NotFound, or Conflict for one on its way."""
    [letter] = _known(ledger, [origin])
    if letter.state is not State.DEAD:
        raise Conflict(f"{origin} is being replayed; wait until it is settled")
    return [Fact(Kind.EDITED, {"origin": str(origin), "place": str(place), "who": who})]


def door_state(origin: Origin, place: Place, ledger: Ledger) -> str:
    """Of a letter of a door: dead in its last edition, until somebody settles it."""
    return State.DEAD.value if ledger.edition(origin) == place else "settled"


def door_edited(ledger: Ledger, origin: Origin, old: Place, new: Place, who: str) -> list[Fact]:
    """The same for a letter of a door, whose last edition was `old`. Raises Conflict."""
    if ledger.edition(origin) != old:
        raise Conflict(f"{old} is settled by now, or has a later edition; look at it again")
    return [Fact(Kind.EDITED, {"origin": str(origin), "place": str(new), "who": who})]


def parked(letters: Sequence[Letter], epoch: str = "") -> list[Fact]:
    """These letters were written: the key of each stops."""
    return [
        Fact(Kind.PARKED, {"letters": [one.data() for one in letters[at : at + IN_ONE]], "epoch": epoch})
        for at in range(0, len(letters), IN_ONE)
    ]


def resolved(origins: Iterable[Origin], epoch: str = "") -> list[Fact]:
    """These letters were replayed, and processed."""
    found = [str(origin) for origin in origins]
    return [
        Fact(Kind.RESOLVED, {"origins": found[at : at + IN_ONE], "epoch": epoch}) for at in range(0, len(found), IN_ONE)
    ]


def _known(ledger: Ledger, origins: Sequence[Origin]) -> list[Letter]:
    missing = [str(origin) for origin in origins if origin not in ledger.letters]
    if missing:
        raise NotFound(
            f"{missing[0]} is no dead letter of this subscription, or is settled", errors=[{"origins": missing}]
        )
    return [ledger.letters[origin] for origin in origins]
