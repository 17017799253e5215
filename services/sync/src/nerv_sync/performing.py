# SPDX-License-Identifier: Apache-2.0
"""One run: verify where that was asked for, plan, then apply, round by round. Nothing is changed before the whole plan stands."""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from nerv.app import App
from nerv.errors import Refused, SchemaMismatch
from nerv.protocols import Clock, History
from nerv.protocols.side import Step, WriteOutcome
from nerv.sync.errors import PlanMoved, PlanUnapproved
from nerv.sync.loading import Check
from nerv.sync.plan import Plan
from nerv.sync.scope import Scope
from nerv.sync.sides import HistorySide
from nerv.sync.synchronizer import ROUNDS
from nerv.sync.tally import Tally
from nerv.telemetry import counter, histogram, span
from nerv.telemetry import names as n
from nerv.telemetry.traffic import saw
from nerv.topology.declared import way_of
from nerv_sync.below import Below, Run
from nerv_sync.journal import Claim
from nerv_sync.model import Document, Order, applied_document, planned_document, verified
from nerv_sync.opened import Opened, Synchronizers
from nerv_sync.record import RunRecord, memory_mib, verdict
from nerv_sync.shelf import Kept, Shelf
from nerv_sync.threads import Threads

T = TypeVar("T")

MOVED_SHOWN = 20  # objects that a refusal names

_objects = counter(n.SYNC_OBJECTS)
_seconds = histogram(n.SYNC_DURATION)


class Performance:
    """Performs an order between the sides of a pair; `tally` counts while it goes on.

    What was cut off goes on where it stopped: with the plan that is recorded, without the objects that are. An order that
    names a plan applies exactly that, or raises PlanMoved. Other runs compare anew what moved meanwhile, at most three times.
    """

    def __init__(
        self, order: Order, opened: Opened, record: RunRecord, shelf: Shelf, app: App, threads: Threads, tally: Tally,
        below: Below,
    ) -> None:  # fmt: skip
        self._order = order
        self._opened = opened
        self._below = below
        self._record = record
        self._shelf = shelf
        self._app = app
        self._threads = threads
        self._tally = tally
        self._where: tuple[str, ...] = ()
        self._times: dict[str, float] = {}
        self._resumed = 0
        self._stopped: Document | None = None

    async def perform(self) -> Document:
        """The document of the run. Raises what it is refused for, and Unavailable where it can go on later."""
        self._check_allowed()
        approved = await self._approved()
        self._where = self._order.where if approved is None else approved.where
        missed = await self._timed("verify", self._opened.synchronizer.verify) if self._order.verify else None
        plan = await self._perform(approved)
        guard, names = self._opened.guard, self._opened.names
        if self._order.dry_run:
            document = planned_document(self._order, names, plan, guard)
        else:
            document = applied_document(self._order, names, plan, self._tally, guard)
            document |= {"resumed": self._resumed, "stopped": self._stopped}
            if document["status"] == "done" and not self._below.whole:
                document["status"] = "conflicts"
        seconds = {part: round(taken, 3) for part, taken in self._times.items()}
        measured = {"seconds": seconds, "memory_mib": memory_mib()}
        return document | measured | self._below.document() | ({} if missed is None else verified(missed))

    async def _perform(self, approved: Kept | None) -> Plan:
        """Plan and apply; answers the plan of the first round that this attempt was at."""
        place = await self._record.place()
        if place is not None:
            first = (await self._shelf.load(self._order.sync, place.plan)).plan
            self._resumed = self._tally.done = len(place.done)
            self._tally.steps = len(first.steps)
            await self._apply(first.without(place.done), self._tally, fresh=False)
        else:
            first = await self._planned(None)
            if approved is not None:
                _check_same(approved.plan, first)
            if self._order.dry_run:
                await self._shelf.keep(self._order.sync, first, self._where)
                await self._below.run()
                return first
            await self._begin(1, first)
            await self._apply(first, self._tally, fresh=True)
        if approved is None:
            await self._again(1 if place is None else place.round)
        return first

    async def _again(self, number: int) -> None:
        """Compare anew what moved while it was applied."""
        while self._tally.moved and not self._tally.unknown and number <= ROUNDS:
            number += 1
            later = Tally()
            try:
                plan = await self._planned(self._tally.moved)
                await self._begin(number, plan)
                await self._apply(plan, later, fresh=True)
            except Refused as refusal:
                # What was done before stays done: the run is not refused, it leaves something over.
                self._stopped = refusal.problem()
                return
            self._tally.settle(later)

    async def _planned(self, keys: Sequence[str] | None) -> Plan:
        opened = self._opened
        where = Scope.parse(self._where)

        async def work() -> Plan:
            plan = await opened.synchronizer.plan(opened.pair.direction, keys=keys, scope=where)
            await self._threads.run(lambda check: self._check_schemas(plan, check))
            return plan

        return await self._timed("plan", work)

    async def _begin(self, number: int, plan: Plan) -> None:
        """Record what a round is about to do."""
        self._tally.steps += len(plan.steps)
        if plan.steps:
            await self._shelf.keep(self._order.sync, plan, self._where)
            await self._record.planned(number, plan, self._times["plan"])

    async def _apply(self, plan: Plan, tally: Tally, *, fresh: bool) -> None:
        confirmed = self._order.confirm_deletes
        await self._timed(
            "apply",
            lambda: self._opened.synchronizer.apply(
                plan,
                confirm_deletes=confirmed,
                tally=tally,
                report=self._report,
                between=self._below.run if self._below else None,
                fresh=fresh,
            ),
            {n.SYNC_CHANGES: len(plan.steps)},
        )

    async def _report(self, steps: Sequence[Step], outcomes: Sequence[WriteOutcome]) -> None:
        await self._record.outcomes(steps, outcomes)
        saw(*way_of(self._app, self._order.sync), len(steps))
        counts = Counter((s.action.value, verdict(one)) for s, one in zip(steps, outcomes, strict=True))
        for (action, outcome), count in counts.items():
            _objects.add(count, {**self._attributes(), n.SYNC_ACTION: action, n.SYNC_OUTCOME: outcome})

    async def _timed(self, part: str, work: Callable[[], Awaitable[T]], attributes: Mapping[str, int] = {}) -> T:
        begun = time.monotonic()
        try:
            with span(n.sync(part), attributes={**self._attributes(), **attributes}):
                return await work()
        finally:
            taken = time.monotonic() - begun
            self._times[part] = self._times.get(part, 0.0) + taken
            _seconds.record(taken, {**self._attributes(), n.SYNC_PART: part})

    def _attributes(self) -> dict[str, str]:
        return {n.SYNC: self._order.sync, n.SYNC_KIND: self._opened.kind}

    def _check_allowed(self) -> None:
        if self._opened.pair.approval and not self._order.dry_run and self._order.plan is None:
            sync = self._order.sync
            raise PlanUnapproved(
                f"{sync} applies only plans that a person has approved: nerv sync plan {sync}, then approve, then apply"
            )

    async def _approved(self) -> Kept | None:
        """The plan that the order names. Raises NotFound, PlanUnapproved."""
        if self._order.plan is None:
            return None
        kept = await self._shelf.load(self._order.sync, self._order.plan)
        if kept.approval is None:
            sync, plan = self._order.sync, self._order.plan
            raise PlanUnapproved(
                f"nobody has approved plan {plan}; look at it (nerv sync show {sync} {plan}), then: "
                f"nerv sync approve {sync} {plan}"
            )
        return kept

    def _check_schemas(self, plan: Plan, check: Check) -> None:
        """Hold every event against the app's model, where it declares one, before the first is appended."""
        for step in plan.steps:
            check()
            side = self._opened.sides[step.side]
            if not isinstance(side, HistorySide):
                continue
            request = side.request(step)
            for event in request.events:
                if event.type not in self._app.events:
                    continue
                try:
                    self._app.decode(event)
                except SchemaMismatch as error:
                    raise SchemaMismatch(
                        f"{request.stream}: {error.detail}; nothing was changed", errors=error.errors
                    ) from None


class Performers:
    """What performs orders: what every run of this replica works with."""

    def __init__(
        self, app: App, synchronizers: Synchronizers, history: History, shelf: Shelf, threads: Threads, clock: Clock
    ) -> None:
        self._app = app
        self._synchronizers = synchronizers
        self._history = history
        self._shelf = shelf
        self._threads = threads
        self._clock = clock

    async def perform(self, claim: Claim, tally: Tally, run: Run) -> Document:
        """Perform a run that was claimed (see `Performance.perform`); `run` performs those that are a part of it."""
        opened = await self._synchronizers.open(claim.order.sync)
        record = RunRecord(self._history, self._clock, claim.order, claim.attempt)
        below = Below(claim.order, opened.below, run)
        return await Performance(
            claim.order, opened, record, self._shelf, self._app, self._threads, tally, below
        ).perform()


def _check_same(approved: Plan, now: Plan) -> None:
    """Raise PlanMoved, naming what differs, unless the plan that would be made now is the approved one."""
    if approved.id == now.id:
        return
    then, today = (
        {(s.side, s.key): (s.action, s.before, s.after, s.version) for s in p.steps} for p in (approved, now)
    )
    differ = sorted(place for place in {*then, *today} if then.get(place) != today.get(place))
    shown = ", ".join(f"{key} ({side})" for side, key in differ[:MOVED_SHOWN])
    raise PlanMoved(
        f"{len(differ)} objects are not as they were when plan {approved.id} was made: {shown}; nothing was changed. "
        "Make a plan anew",
        errors=[{"side": side, "key": key} for side, key in differ[:MOVED_SHOWN]],
    )
