# SPDX-License-Identifier: Apache-2.0
"""The synchronizer: two sides, a schema, and what is kept between two runs so that the next one costs what has changed."""

import asyncio
import importlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from nerv.errors import Misconfigured, VersionConflict
from nerv.protocols.records import Records
from nerv.protocols.side import Action, Side
from nerv.state import MISSING
from nerv.sync import tree
from nerv.sync.agreed import InHistory, opened
from nerv.sync.applying import Attempt, Between, Means, Report, silent
from nerv.sync.conflicts import ConflictJournal, Waiting
from nerv.sync.digests import Digests, Head, retried
from nerv.sync.errors import LoadRefused
from nerv.sync.ordering import Parent, waves
from nerv.sync.plan import Direction, Plan, check_deletes
from nerv.sync.planning import Draft, Planner, Trio
from nerv.sync.records import MemoryRecords
from nerv.sync.schema import Digester, Schema
from nerv.sync.scope import EVERYTHING, Scope, ScopedSide
from nerv.sync.strategies import AskPerson, Strategy
from nerv.sync.tally import Tally
from nerv.types import Description

T = TypeVar("T")

CHUNK = 500  # objects that are read and compared at a time: about 30 ms of diffsync
DELETE_GUARD = 0.2  # a greater share of deletes has to be confirmed
ROUNDS = 3  # of comparing anew what moved while a sync was applied
ALIKE = 100_000  # objects that are remembered as alike within a tolerance


class DiffSynchronizer:
    """Keeps two sides equal: `plan` finds out what that takes, `apply` does exactly it, `sync` does both until nothing moves.

    Digests beside each side say which objects may differ; only these are read, and diffsync says what does differ. Give
    records that outlive the process, and the digests do, too. With `agreed`, the state that both last had in common is kept:
    then both directions can be synced, and `journal` gets every update that is overruled.
    """

    def __init__(
        self,
        name: str,
        left: Side,
        right: Side,
        schema: Schema,
        *,
        digests: tuple[Records, Records] | None = None,
        agreed: Records | InHistory | None = None,
        journal: ConflictJournal | None = None,
        strategy: Strategy | None = None,
        delete_guard: float = DELETE_GUARD,
        parent: Parent | None = None,
        scope: Scope = EVERYTHING,
    ) -> None:
        if (agreed is None) != (journal is None):
            raise Misconfigured(f"sync {name}: `agreed` and `journal` go together; what is overruled has to be kept")
        digester = Digester(schema, scope)
        records = digests or (MemoryRecords(), MemoryRecords())
        self.name = name
        self._schema = schema
        self._digester = digester
        self._sides: Mapping[str, Side] = {"left": left, "right": right}
        self._digests = {
            side: Digests(ScopedSide(self._sides[side], scope) if scope else self._sides[side], digester, kept)
            for side, kept in zip(self._sides, records, strict=True)
        }
        self._scope = scope
        self._agreed = None if agreed is None else opened(agreed, digester)
        self._means = Means(self._sides, self._agreed, journal, parent)
        self._journal = journal
        self._planner = Planner(schema, strategy or AskPerson(), agreed=agreed is not None)
        self._guard = delete_guard
        self._alike: dict[str, tuple[bytes | None, bytes | None]] = {}
        self._present: dict[str, int] = {}
        self._turn = asyncio.Lock()
        self._counts = {"plans": 0, "compared": 0, "written": 0}

    async def plan(
        self,
        direction: Direction = Direction.TO_RIGHT,
        *,
        keys: Sequence[str] | None = None,
        scope: Scope = EVERYTHING,
    ) -> Plan:
        """What it takes to make the sides equal, of all objects, or of these keys, or of this part of the sync's scope.
        Changes nothing.

        Raises LoadRefused for a side that could not be read whole, Unavailable, Misconfigured for a direction that these
        sides do not allow, ParentsInCycle, VersionConflict when other processes work with the same digests all the time.
        """
        self._check(direction)
        async with self._turn:
            self._counts["plans"] += 1
            try:
                return await retried(lambda: self._plan(direction, keys, scope))
            except VersionConflict:
                # Not another process all the time, but digests that are not whole, such as of a store that lost some of them.
                for digests in self._digests.values():
                    await digests.rebuild()
                return await retried(lambda: self._plan(direction, keys, scope))

    async def apply(
        self,
        plan: Plan,
        *,
        confirm_deletes: bool = False,
        tally: Tally | None = None,
        report: Report = silent,
        between: Between | None = None,
        fresh: bool = False,
    ) -> Tally:
        """Do what a plan says, every step only if its object is still as it was seen; a `tally` given counts on, and `report`
        is told the outcomes batch by batch. `between` what is made and what is removed others may have to do something.
        `fresh`: it was made a moment ago, so that what it found equal is so still.

        It ends early at an unknown outcome. Raises DeletesUnconfirmed before the first step, and Unavailable when a side
        cannot be written or the journal not be kept: what is done is done, and the same plan can be applied again.
        """
        check_deletes(plan, self._guard, confirm_deletes)
        tally = Tally() if tally is None else tally
        attempt = Attempt(self._means, plan, tally, report, between)
        if self._journal is not None:
            await self._journal.ask(plan.asked)
        done = tally.done
        try:
            return await attempt.perform(fresh=fresh)
        finally:
            self._counts["written"] += tally.done - done

    async def sync(self, direction: Direction = Direction.TO_RIGHT, *, confirm_deletes: bool = False) -> Tally:
        """Plan and apply; what moved meanwhile is compared anew, at most three times, and never overwritten unseen."""
        tally = await self.apply(await self.plan(direction), confirm_deletes=confirm_deletes, fresh=True)
        for _ in range(ROUNDS):
            if not tally.moved or tally.unknown:
                break
            again = await self.plan(direction, keys=tally.moved)
            tally.settle(await self.apply(again, confirm_deletes=confirm_deletes, fresh=True))
        return tally

    async def verify(self) -> dict[str, list[str]]:
        """Read both sides whole and make the digests anew; answers the keys, by side, whose change no feed had told."""
        async with self._turn:
            return {side: await digests.verify() for side, digests in self._digests.items()}

    async def conflicts(self) -> list[Waiting]:
        """The conflicts that wait for a person, as the sides are now: those that have ended otherwise are closed."""
        journal = self._journaled()
        waiting = await journal.waiting()
        plan = await self.plan(Direction.BOTH, keys=[one.key for one in waiting])
        asked = {one.key for one in plan.asked}
        for one in waiting:
            if one.key not in asked:
                await journal.close(one.key)
        await journal.ask(plan.asked)
        return await journal.waiting()

    async def decide(self, key: str, conflict: str, choice: Any, *, by: str) -> None:
        """A person's word on a conflict, for the next sync (see `ConflictJournal.decide`)."""
        await self._journaled().decide(key, conflict, choice, by)

    def describe(self) -> Description:
        """The synchronizer as data."""
        parts = [side.describe() for side in self._sides.values()]
        parts += [digests.describe() for digests in self._digests.values()]
        parts += [kept.describe() for kept in (self._agreed, self._journal) if kept is not None]
        names = tuple(side.name for side in self._sides.values())
        outputs = tuple(side.name for side in self._sides.values() if side.writable)
        return Description(
            "DiffSynchronizer", self.name, names, outputs, counters=dict(self._counts), parts=tuple(parts)
        )

    def _check(self, direction: Direction) -> None:
        written = {Direction.TO_RIGHT: ("right",), Direction.TO_LEFT: ("left",), Direction.BOTH: ("left", "right")}
        for side in written[direction]:
            if not self._sides[side].writable:
                raise Misconfigured(
                    f"sync {self.name}: {self._sides[side].name} ({side}) is only read, so not {direction}"
                )
        if direction is Direction.BOTH:
            self._journaled()

    def _journaled(self) -> ConflictJournal:
        if self._journal is None:
            raise Misconfigured(f"sync {self.name}: both directions need `agreed` and `journal`")
        return self._journal

    async def _plan(self, direction: Direction, keys: Sequence[str] | None, scope: Scope) -> Plan:
        draft = Draft()
        if keys is None:
            heads = {side: await digests.refresh() for side, digests in self._digests.items()}
            self._present = {side: head.count for side, head in heads.items()}
            async for found in self._nominated(heads):
                await self._draft(draft, direction, found, scope)
        else:
            if self._agreed is not None:
                await self._agreed.head()
            for chunk in _chunks([tree.Differing(key, 0, None, None) for key in dict.fromkeys(keys)]):
                await self._draft(draft, direction, chunk, scope)
        draft.steps.sort(key=lambda step: (step.side, step.key))
        unchanged = self._unchanged(draft, direction)
        plan = Plan(
            direction,
            draft.steps,
            dict(self._present),
            unchanged,
            draft.agreed,
            draft.losses,
            draft.asked,
            draft.unwritable,
        )
        self._check_empty(plan)
        waves(plan.steps, self._means.parent)  # a plan that has no order must not be shown as one that could be applied
        return plan

    async def _nominated(self, heads: dict[str, Head]) -> AsyncIterator[Sequence[tree.Differing]]:
        """The objects whose digests say that they may differ, some at a time."""
        base = None if self._agreed is None else await self._agreed.head()
        depth = max(head.depth for head in (*heads.values(), base) if head is not None)
        left, right = [await self._digests[side].deepen(heads[side], depth) for side in self._sides]
        if self._agreed is not None and base is not None:
            base = await self._agreed.deepen(base, depth)
        trees = [self._digests["left"].tree(left), self._digests["right"].tree(right)]
        seen = set[str]()
        async for found in tree.differences(*trees):
            seen.update(one.key for one in found)
            for chunk in _chunks([one for one in found if self._alike.get(one.key) != (one.left, one.right)]):
                yield chunk
        if self._agreed is None or base is None:
            return
        # What both sides changed alike differs from the base alone.
        async for found in tree.differences(trees[0], self._agreed.tree(base)):
            for chunk in _chunks(
                [tree.Differing(one.key, one.leaf, None, None) for one in found if one.key not in seen]
            ):
                yield chunk

    async def _draft(self, draft: Draft, direction: Direction, found: Sequence[tree.Differing], scope: Scope) -> None:
        keys = [one.key for one in found]
        lefts, rights = await asyncio.gather(*(side.fetch(keys) for side in self._sides.values()))
        bases = {} if self._agreed is None else await self._agreed.fetch(keys)
        trios = [Trio(left, right, bases.get(left.key)) for left, right in zip(lefts, rights, strict=True)]
        differs = await self._differing(trios)
        self._remember(found, trios, differs)
        trios = [trio for trio in trios if trio.within(self._scope) and trio.within(scope)]
        if direction is not Direction.BOTH:
            self._planner.mirror(draft, "right" if direction is Direction.TO_RIGHT else "left", trios, differs)
            return
        asked = len(draft.asked)
        self._planner.reconcile(draft, trios, differs)
        decided = await self._journaled().decisions(draft.asked[asked:])
        if decided:
            draft.asked[asked:] = [one for one in draft.asked[asked:] if one.key not in decided]
            self._planner.reconcile(draft, [trio for trio in trios if trio.key in decided], differs, decided)

    async def _differing(self, trios: Sequence[Trio]) -> set[str]:
        """The keys of the objects that diffsync finds unequal. Those whose rows have the same digest are equal."""
        unlike = self._unlike(trios)
        self._counts["compared"] += len(unlike)
        if not unlike:
            return set()
        # diffsync takes a while to import, which who only declares a sync need not wait for.
        adapters = await asyncio.to_thread(importlib.import_module, "nerv.sync.adapters")
        lefts, rights = [trio.left for trio in unlike], [trio.right for trio in unlike]
        return set(await asyncio.to_thread(adapters.difference, lefts, rights, self._schema))

    def _unlike(self, trios: Sequence[Trio]) -> list[Trio]:
        """Those that only one side has, or whose rows have not the same digest."""
        rows = [(trio.left.row, trio.right.row) for trio in trios]
        known = iter(self._digester.many([row for pair in rows if None not in pair for row in pair if row is not None]))
        return [
            trio
            for trio, (left, right) in zip(trios, rows, strict=True)
            if (left is not right if left is None or right is None else next(known) != next(known))
        ]

    def _remember(self, found: Sequence[tree.Differing], trios: Sequence[Trio], differs: set[str]) -> None:
        """Objects that are equal within a tolerance, though their digests are not, need no second look as they are."""
        if self._schema.exact:
            return
        if len(self._alike) > ALIKE:
            self._alike.clear()
        for one, trio in zip(found, trios, strict=True):
            if one.key in differs or one.left is None or trio.left.row is None or trio.right.row is None:
                continue
            # Only if they are still what the digests were made of.
            if (self._digester(trio.left.row), self._digester(trio.right.row)) == (one.left, one.right):
                self._alike[one.key] = (one.left, one.right)

    def _unchanged(self, draft: Draft, direction: Direction) -> int:
        """How many objects of the target (in both directions: of the right side) a plan leaves as they are."""
        target = "left" if direction is Direction.TO_LEFT else "right"
        touched = {step.key for step in draft.steps} | {one.key for one in draft.asked if one.right is not MISSING}
        absent = {  # it has none yet, or has deleted it
            step.key for step in draft.steps if step.action is (Action.CREATE if step.side == target else Action.DELETE)
        }
        return self._present.get(target, 0) - len(touched - absent)

    def _check_empty(self, plan: Plan) -> None:
        """An empty side is no proof that everything was deleted on it (rule 19)."""
        for side, other in (("left", "right"), ("right", "left")):
            if not plan.present.get(side) and plan.deletes(other):
                raise LoadRefused(
                    f"{self._sides[side].name} ({side}) is empty, and an empty load never deletes anything; "
                    f"{self._sides[other].name} stays as it is"
                )


def _chunks(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))
