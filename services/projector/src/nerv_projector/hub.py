# SPDX-License-Identifier: Apache-2.0
"""Which partitions this replica owns, told to every version of every projection. The number of a partition stands for that
partition of history and of every rekeyed topic, so that one membership shares out all the work."""

import asyncio
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

import structlog

from nerv.cancelling import end
from nerv.errors import NervError
from nerv.service import Health
from nerv_projector.control import Control, ControlTopic
from nerv_projector.faust_app import FaustHost
from nerv_projector.hosting import Hosting
from nerv_projector.mesh import Rates
from nerv_projector.runner import Runner
from nerv_projector.watermarks import Watermarks

log = structlog.get_logger(__name__)

CHECK_SECONDS = 1.0
COPY_EVERY = 10  # checks to one of the copy in Redis
LEFT_OVER = 5  # versions before the highest that may have left something behind in a crash


class Hub:
    """All runners, as control says. Use as `async with`, when the control topic has been read."""

    def __init__(
        self, hosting: Hosting, control: ControlTopic, watermarks: Watermarks, host: FaustHost,
        health: Health, rates: Rates,
    ) -> None:  # fmt: skip
        self._hosting, self._control, self._watermarks = hosting, control, watermarks
        self._crashed = host.crashed
        self._rates = rates
        self._versions: dict[str, dict[int, Runner]] = {name: {} for name in hosting.names}
        self._owned: frozenset[int] = frozenset()
        self._changed: dict[str, asyncio.Event] = {name: asyncio.Event() for name in hosting.names}
        self._tasks: list[asyncio.Task[None]] = []
        self._checks = 0
        control.heard = self._heard
        health.register("control", lambda: control.fault)
        for name in hosting.names:
            # Lag does not make a replica unready: all replicas read the same views, so another would answer no better.
            health.register(f"projection {name}", lambda name=name: self._fault(name), shared=True)  # type: ignore[misc]

    @property
    def owned(self) -> frozenset[int]:
        """The partitions this replica works on."""
        return self._owned

    @property
    def fingerprints(self) -> Mapping[str, str]:
        """Of each projection, the digest of the code that folds it now."""
        return self._hosting.fingerprints

    @property
    def runners(self) -> Mapping[str, Runner]:
        """What is live of each projection."""
        live = {name: versions.get(self._control.of(name).live) for name, versions in self._versions.items()}
        return {name: runner for name, runner in live.items() if runner is not None}

    def version(self, name: str, number: int) -> Runner | None:
        """A version of a projection, if it is folded here."""
        return self._versions.get(name, {}).get(number)

    async def __aenter__(self) -> Self:
        for name in self._hosting.names:
            await self._arrange(name, self._control.of(name))
            self._changed[name].set()  # what a crash has left behind is cleared when Redis answers
            self._tasks.append(asyncio.create_task(self._follow(name), name=f"control-{name}"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            await end(task)
        for runner in self._all():
            await runner.__aexit__(kind, error, trace)

    async def gained(self, partitions: set[int]) -> None:
        """The group gives us these."""
        self._owned |= partitions
        self._rates.own(self._owned)
        for runner in self._all():
            runner.own(self._owned)

    async def lost(self, partitions: set[int]) -> None:
        """The group takes these; when this returns nothing of them is in hand."""
        self._owned -= partitions
        await asyncio.gather(self._rates.let_go(self._owned), *(runner.let_go(self._owned) for runner in self._all()))

    async def check(self) -> None:
        """Have every version see whether its epoch still holds, and how far it is."""
        await asyncio.gather(*(runner.check() for runner in self._all()))
        self._checks += 1
        if self._checks % COPY_EVERY == 0:
            for event in self._changed.values():
                event.set()  # should Redis have lost its copy of what is live

    def _all(self) -> Iterator[Runner]:
        return iter([runner for versions in self._versions.values() for runner in versions.values()])

    def _fault(self, name: str) -> str | None:
        runner = self.runners.get(name)
        return "its live version has not started yet" if runner is None else runner.fault

    def _heard(self, name: str, control: Control) -> None:
        if name in self._changed:  # another app of this mesh may declare others
            self._changed[name].set()

    async def _follow(self, name: str) -> None:
        while True:
            await self._changed[name].wait()
            self._changed[name].clear()
            try:
                control = self._control.of(name)
                await self._arrange(name, control)
                offset = self._control.offset(name)
                await self._hosting.copy.keep(name, control.live, topic=self._control.id, offset=offset)
                await self._clear(name, control)
            except NervError as error:
                log.warning("projection.arrange", projection=name, cause=error.detail)
                self._changed[name].set()
                await asyncio.sleep(CHECK_SECONDS)
            except Exception as error:
                if not self._crashed.done():
                    self._crashed.set_exception(error)
                return

    async def _arrange(self, name: str, control: Control) -> None:
        """Fold the versions that control names and no others. Asks nobody, so that it works while Redis is away."""
        versions = self._versions[name]
        for number in versions.keys() - control.versions:
            runner = versions.pop(number)
            await runner.__aexit__(None, None, None)
            self._hosting.release(runner.hosted)
            if runner.hosted.parks is not None:
                self._tasks.append(asyncio.create_task(runner.hosted.parks.end(self._owned), name=f"parks-of-{name}"))
        for number in sorted(control.versions - versions.keys()):
            since = control.since if number == control.building else None
            runner = Runner(self._hosting.hosted(name, number), self._watermarks, self._crashed, since)
            runner.paused = control.paused
            runner.own(self._owned)
            versions[number] = await runner.__aenter__()
        for runner in versions.values():
            await runner.pause(control.paused)
            if runner.hosted.parks is not None:
                runner.hosted.parks.nudge()

    async def _clear(self, name: str, control: Control) -> None:
        """Delete what is left of versions that control names no more."""
        for number in range(max(1, control.last - LEFT_OVER), control.last + 1):
            if number not in control.versions:
                await self._hosting.views(name, number).discard()
