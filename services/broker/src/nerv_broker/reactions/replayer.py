# SPDX-License-Identifier: Apache-2.0
"""Try dead letters again, a part at a time, so that what comes from the topics goes on in between."""

import asyncio
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

from nerv.kafka import BatchConsumer
from nerv.kafka.deadletters import Origin, origin_of
from nerv.subscriptions import Letter
from nerv_broker.deadletters.reading import LetterBox
from nerv_broker.reactions.answers import BEHIND, Answer
from nerv_broker.reactions.batch import Ending
from nerv_broker.reactions.parking import Parks
from nerv_broker.reactions.planning import Planner
from nerv_broker.reactions.replaying import first_part, token, tokens

GONE = "the letter is gone from the topic"


class Replayer:
    """The replays of one membership of the group."""

    def __init__(self, planner: Planner, parks: Parks, ending: Ending, box: LetterBox) -> None:
        self._planner, self._parks, self._ending, self._box = planner, parks, ending, box
        self._stood: set[str] = set()  # tokens of letters whose replay stands, though the books may not say so
        self._due: dict[str, float] = {}  # by reaction: no part before this instant (monotonic)

    def note(self, notes: Mapping[tuple[str, int], str]) -> None:
        """What stands beside the offsets of partitions that are ours now."""
        self._stood |= tokens(notes)

    async def run(self, partitions: Set[tuple[str, int]], consumer: BatchConsumer) -> None:
        """The next part of each reaction whose time has come; then the parks are nudged for the one after."""
        for name, letters in await self._parks.replaying(partitions):
            wait = self._due.get(name, 0.0) - time.monotonic()
            if wait <= 0:
                part = first_part(letters)
                await self._part(name, part, letters, consumer)
                wait = 0.0 if part[0].rate is None else len(part) / part[0].rate
                self._due[name] = time.monotonic() + wait
            asyncio.get_running_loop().call_later(wait, self._parks.nudge)

    async def _part(
        self, name: str, part: Sequence[Letter], letters: Sequence[Letter], consumer: BatchConsumer
    ) -> None:
        """Some letters of one reaction, in order; behind one that fails those of its key, of all `letters`, wait again."""
        stood = {letter.origin for letter in part if token(name, letter) in self._stood}
        fresh = {letter.origin: letter for letter in part if letter.origin not in stood}
        found = await self._box.fetch([letter.place for letter in fresh.values()])
        answers, faults = self._planner.letters(name, [found[o.place] for o in fresh.values() if o.place in found])
        faults |= {origin: GONE for origin, letter in fresh.items() if letter.place not in found}
        tried = _before_faults(answers, fresh, faults)
        if tried:
            await self._ending.again(tried, lambda one: token(name, fresh[origin_of(one.record)]), consumer)
        done = stood | {origin_of(one.record) for one in tried if one.good}
        failed = {origin_of(one.record) for one in tried if one.error is not None}
        lanes = {letter.lane for letter in part if letter.lane and letter.origin in faults.keys() | failed}
        waiting = [
            replace(letter, held=letter.origin not in faults, cause=faults.get(letter.origin, BEHIND))
            for letter in letters
            if letter.origin not in done | failed and (letter.origin in faults or letter.lane in lanes)
        ]
        await self._parks.settle(name, sorted(done), waiting)


def _before_faults(
    answers: Sequence[Answer], letters: Mapping[Origin, Letter], faults: Mapping[Origin, str]
) -> list[Answer]:
    """The answers that stand behind no letter of their key that could not even be read."""
    first: dict[object, Origin] = {}
    for origin in sorted(faults):
        first.setdefault(letters[origin].lane or origin, origin)
    return [
        one for one in answers if (at := origin_of(one.record)) < first.get(letters[at].lane, at._replace(offset=2**63))
    ]
