# SPDX-License-Identifier: Apache-2.0
"""One attempt to apply a plan: batch by batch, by a bounded number of workers, parents before their children."""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from nerv.errors import NervError, UnknownOutcome
from nerv.protocols.side import Side, Step, WriteOutcome, Written
from nerv.sync.agreed import Agreed
from nerv.sync.conflicts import ConflictJournal
from nerv.sync.digests import retried
from nerv.sync.ordering import Parent, waves
from nerv.sync.plan import Agreement, Plan, batches
from nerv.sync.tally import Tally
from nerv.sync.threeway import Loss

CHUNK = 500  # agreements that are kept in one go
WORKERS = 4  # batches of 500 steps under way at once: enough to keep a side busy while answers are on their way

Report = Callable[[Sequence[Step], Sequence[WriteOutcome]], Awaitable[None]]
"""Told the outcomes of each batch before anything is concluded from them."""


Between = Callable[[], Awaitable[bool]]
"""Awaited when all is made and before anything is removed, such as for the children that other syncs keep; False: nothing is."""


async def silent(steps: Sequence[Step], outcomes: Sequence[WriteOutcome]) -> None:
    """A report to nobody."""


@dataclass(frozen=True, slots=True)
class Means:
    """What plans of one sync are applied by."""

    sides: Mapping[str, Side]
    agreed: Agreed | None
    journal: ConflictJournal | None
    parent: Parent | None = None
    workers: int = WORKERS


class Attempt:
    """Every step is written only if its object is still as it was seen. What is overruled is journaled before, what both
    sides hold is agreed on after. It ends early at an unknown outcome, and at what is unavailable, which it raises.
    """

    def __init__(
        self, means: Means, plan: Plan, tally: Tally, report: Report = silent, between: Between | None = None
    ) -> None:
        """Raises ParentsInCycle."""
        self._means = means
        self._plan = plan
        self._tally = tally
        self._report = report
        self._between = between
        self._waves = waves(plan.steps, means.parent, apart=between is not None)
        self._id = uuid.uuid4().hex
        self._open = defaultdict[str, int](int)
        for step in plan.steps:
            self._open[step.key] += 1
        self._losses = defaultdict[tuple[str, str], list[Loss]](list)
        for loss in plan.losses:
            self._losses[loss.side, loss.key].append(loss)
        self._tried = 0
        self._failure: Exception | None = None
        self._agreeing = asyncio.Lock()  # one write of the base at a time: they would be refused for each other

    async def perform(self, *, fresh: bool) -> Tally:
        """Apply it. `fresh`: the plan was made a moment ago, so that what it found equal is so still."""
        held = {key: agreement for key, agreement in self._plan.agreed.items() if key not in self._open}
        await self._agree(held if fresh else await self._still(held))
        if await self._all(self._waves.making) and (self._between is None or await self._between()):
            await self._all(self._waves.removing)
        self._tally.untried += len(self._plan.steps) - self._tried
        return self._tally

    async def _all(self, waves: Sequence[Sequence[Step]]) -> bool:
        """Apply one wave after the other; False when the outcome of a step is not known."""
        for wave in waves:
            pending = batches(wave)
            await asyncio.gather(*(self._work(pending) for _ in range(self._means.workers)))
            if self._failure is not None:
                raise self._failure
            if self._tally.unknown:
                return False
        return True

    async def _work(self, pending: Iterator[Sequence[Step]]) -> None:
        """Take batches until there are none, or one has failed: the others end what they are at, and begin nothing."""
        while self._failure is None and not self._tally.unknown and (steps := next(pending, None)) is not None:
            self._tried += len(steps)
            try:
                await self._batch(steps)
            except Exception as error:
                self._failure = self._failure or error

    async def _batch(self, steps: Sequence[Step]) -> None:
        outcomes = await self._write(steps)
        await self._report(steps, outcomes)
        for step, outcome in zip(steps, outcomes, strict=True):
            self._open[step.key] -= isinstance(outcome, Written)
        agreed = self._plan.agreed
        await self._agree({s.key: agreed[s.key] for s in steps if s.key in agreed and not self._open[s.key]})
        self._tally.add(steps, outcomes)

    async def _write(self, steps: Sequence[Step]) -> list[WriteOutcome]:
        """Write a batch of one side. What it overrules is journaled before, and taken back where nothing was overwritten."""
        side, journal = self._means.sides[steps[0].side], self._means.journal
        losses = [found for step in steps for found in self._losses[step.side, step.key]]
        if losses and journal is not None:
            await journal.lose(losses, self._id)
        outcomes = await written(side, steps)
        refused = {
            step.key
            for step, outcome in zip(steps, outcomes, strict=True)
            if not isinstance(outcome, Written | UnknownOutcome)
        }
        spared = [loss for loss in losses if loss.key in refused]
        if spared and journal is not None:
            await journal.spare(spared, self._id)
        return outcomes

    async def _agree(self, held: Mapping[str, Agreement]) -> None:
        if self._means.agreed is None:
            return
        items = list(held.items())
        for start in range(0, len(items), CHUNK):
            rows = {key: agreement.row for key, agreement in items[start : start + CHUNK]}
            async with self._agreeing:
                await retried(partial(self._means.agreed.agree, rows))

    async def _still(self, held: Mapping[str, Agreement]) -> dict[str, Agreement]:
        """Those that both sides hold still: an old plan must not turn back what they have agreed on since."""
        found, keys = {}, list(held)
        for start in range(0, len(keys), CHUNK):
            chunk = keys[start : start + CHUNK]
            lefts, rights = [await side.fetch(chunk) for side in self._means.sides.values()]
            for left, right in zip(lefts, rights, strict=True):
                if held[left.key].versions == (left.version, right.version):
                    found[left.key] = held[left.key]
        return found


async def written(side: Side, steps: Sequence[Step]) -> list[WriteOutcome]:
    """What a side answers; what it raises is the outcome of every step."""
    try:
        return list(await side.write(steps))
    except NervError as error:
        return [error] * len(steps)
    except Exception as error:
        # A side may be an app's code: what it did before it broke nobody knows.
        return [UnknownOutcome(f"{side.name} broke off: {type(error).__name__}: {error}")] * len(steps)
