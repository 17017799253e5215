# SPDX-License-Identifier: Apache-2.0
"""The Redis side of a group, which all replicas share. What an operation does is said in `group.lua`, where it is done."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from nerv.errors import Overloaded, Unavailable
from nerv.redis import Scripts
from nerv.redis.connection import Redis
from nerv_broker.groups.entries import LANES, Delivery, Entry, Token, entry_id, unpack
from nerv_broker.groups.spec import GroupSpec, Strategy

IN_ONE = 100  # entries that one call of the script works on
ANSWER_BYTES = 2 * 1024 * 1024  # of records that one fetch answers
SILENT_SECONDS = 15.0  # a member that has not asked for so long is gone

Words = list[str | bytes | int | float]


class Lost(Unavailable):
    """Redis has lost the partition, or another dispatches it: start again from the ledger."""

    title = "Not ours"


class Doomed(NamedTuple):
    """An entry that was given up: `verb` is park, skip, or held, which is behind one that was parked."""

    entry: Entry
    again: bool
    verb: str
    cause: str
    attempts: int

    @property
    def id(self) -> str:
        """What Redis calls it."""
        return entry_id(self.entry.origin, again=self.again)


class Ticked(NamedTuple):
    """How a partition stands. `floor` is the first offset that is not settled, and all before it are."""

    next: int
    floor: int
    doomed: list[Doomed]
    done: list[str]


class Verdict(NamedTuple):
    """What a member says of a delivery. `wait` is seconds until the next attempt, None leaves it to the group."""

    token: Token
    verb: str
    wait: float | None = None
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """A partition for people."""

    partition: int
    next: int
    floor: int
    unsettled: int
    in_hand: int
    delayed: int
    given_up: int
    replaying: int


class SharedGroup:
    """One group in Redis. `created` is its own, so that one of the same name that was deleted shares nothing with it.

    Every operation may be repeated after an unknown outcome. Raises Unavailable or UnknownOutcome.
    """

    def __init__(self, redis: Redis, mesh: str, name: str, created: int, spec: GroupSpec) -> None:
        self._script = Scripts(redis, "nerv_broker.groups")
        self._base = f"{mesh}:{{group:{name}:{created}}}"
        self._spec = spec
        self._lanes = LANES if spec.strategy is Strategy.BY_KEY else 1
        pauses = (spec.first_retry_seconds, spec.longest_retry_seconds)
        self._trying: Words = [spec.max_attempts, *(round(seconds * 1000) for seconds in pauses)]
        self._lease = round(spec.lease_seconds * 1000)

    async def take(self, partition: int, epoch: str, position: int, life: str) -> tuple[bool, int]:
        """Dispatch a partition from now on, and shut out who did: whether Redis knew nothing of it, and the next offset."""
        fresh, next_ = await self._do("take", partition, epoch, position, life)
        return bool(fresh), int(next_)

    async def dispatch(self, partition: int, epoch: str, start: int, to: int, entries: Sequence[Entry]) -> int:
        """Put in what was read from `start` up to `to`; answers the next offset, less than `to` where the window is full.

        Raises Lost.
        """
        words: Words = [partition, epoch, start, to, self._spec.window]
        state, next_ = await self._do("dispatch", *words, *self._packed(entries))
        _check(state)
        return int(next_)

    async def replay(self, partition: int, epoch: str, entries: Sequence[Entry]) -> int:
        """Put in dead letters again; answers how many of them are in now. Raises Lost."""
        state, count = await self._do("replay", partition, epoch, self._spec.window, *self._packed(entries))
        _check(state)
        return int(count)

    async def tick(self, partition: int, epoch: str) -> Ticked:
        """Make ready what is due, take back what nobody renewed, and tell how the partition stands. Raises Lost."""
        state, *told = await self._do("tick", partition, epoch, IN_ONE, *self._trying)
        _check(state)
        next_, floor, doomed, done = told
        return Ticked(int(next_), int(floor), [_doomed(*one) for one in doomed], [one.decode() for one in done])

    async def give_up(self, partition: int, epoch: str, doomed: Sequence[Doomed]) -> None:
        """They stand in the dead letters, or are passed over, and that is recorded. Raises Lost."""
        words: Words = [word for one in doomed for word in (one.id, one.verb)]
        [state] = await self._do("give_up", partition, epoch, *words)
        _check(state)

    async def resolved(self, partition: int, epoch: str, done: Sequence[str]) -> None:
        """It is recorded that these replays were processed. Raises Lost."""
        [state] = await self._do("resolved", partition, epoch, *done)
        _check(state)

    async def fetch(self, member: str, limit: int) -> list[Delivery]:
        """What is ready for a member, at most `limit`; it has them in hand until their leases end. Raises Overloaded."""
        patience = round(SILENT_SECONDS * 1000)
        words: Words = [member, limit, ANSWER_BYTES, self._lease, patience, self._spec.strategy.value, self._lanes]
        found = await self._do("fetch", *words)
        if found == b"full":
            raise Overloaded("the group has 1000 members; use the same name on each request of one", retry_after=5.0)
        return [
            Delivery(Token(entry.decode(), life.decode(), attempt), unpack(record))
            for entry, life, attempt, record in found
        ]

    async def conclude(self, verdicts: Sequence[Verdict]) -> list[bool]:
        """What members say of their deliveries; false for one that is not in the member's hand any more."""
        answers: list[bool] = []
        for at in range(0, len(verdicts), IN_ONE):
            words: Words = [self._lease, *self._trying]
            for token, verb, wait, cause in verdicts[at : at + IN_ONE]:
                pause = "" if wait is None else round(wait * 1000)
                words += [*token, verb, pause, cause.encode("utf-8", "replace")]
            answers += [answer == b"done" for answer in await self._do("conclude", *words)]
        return answers

    async def in_hand(self, tokens: Sequence[Token]) -> list[bool]:
        """Whether each is still in the hand of the member that has this token."""
        answers: list[bool] = []
        for at in range(0, len(tokens), IN_ONE):
            words = [word for token in tokens[at : at + IN_ONE] for word in token]
            answers += [bool(held) for held in await self._do("in_hand", *words)]
        return answers

    async def leave(self, member: str) -> None:
        """A member goes; others get its lanes."""
        await self._do("leave", member, self._spec.strategy.value, self._lanes)

    async def show(self, partitions: Sequence[int]) -> tuple[dict[str, float], list[Standing]]:
        """The members, with the seconds since each was last seen, and how each partition stands that Redis knows."""
        members, found, now = await self._do("show", *partitions)
        seen = {name.decode(): (now - float(at)) / 1000 for name, at in zip(members[::2], members[1::2], strict=True)}
        return seen, [Standing(*(int(number) for number in one)) for one in found]

    async def remove(self, partitions: int) -> None:
        """Nothing is left of the group."""
        await self._do("remove", self._lanes, *range(partitions))

    def _packed(self, entries: Sequence[Entry]) -> Words:
        return [
            word
            for one in entries
            for word in (one.origin.offset, one.scope, one.lane(self._lanes), one.pack())
        ]  # fmt: skip

    async def _do(self, operation: str, *words: str | bytes | int | float) -> Any:
        return await self._script("group", [self._base], [operation, *words])


def _doomed(entry: bytes, tries: bytes, why: bytes, record: bytes) -> Doomed:
    verb, _, cause = why.decode("utf-8", "replace").partition("\n")
    return Doomed(unpack(record), entry.endswith(b":r"), verb, cause, int(tries))


def _check(state: bytes) -> None:
    if state != b"ok":
        raise Lost(f"the partition is {state.decode()}; it is taken anew from its last position", retry_after=0.2)
