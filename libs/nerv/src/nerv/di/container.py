# SPDX-License-Identifier: Apache-2.0
"""The container: starts components in the order of what they need, and stops them in reverse."""

import asyncio
import contextvars
import inspect
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self, overload

import structlog

from nerv.cancelling import finished
from nerv.di.component import C, Component, Key, Kind, Typed
from nerv.di.graph import Node
from nerv.di.injecting import Injection
from nerv.di.life import Life
from nerv.di.registry import Registry
from nerv.di.scope import Scope
from nerv.di.tasks import units
from nerv.di.wiring import Wiring
from nerv.errors import Misconfigured, Unavailable
from nerv.partition import Partition
from nerv.types import Description, Health, LifecycleState, Resource, ResourceId

log = structlog.get_logger(__name__)

START_SECONDS = 30.0  # a broker that is elected anew takes less
STOP_SECONDS = 8.0  # a service has 10 s to end (rule 16)
SHARE = 0.75  # of the time left to stop that one component may take, so that one that hangs leaves some for the others
LEAST_SECONDS = 0.1  # for each, however many have hung before it


class Container(Registry):
    """A registry that runs; use as `async with`, as often as you like, one life after the other, each on one event loop.

    Everything that was started is stopped, once, in reverse order, whatever fails, hangs or is cancelled meanwhile.
    """

    def __init__(
        self, name: str = "container", *, start_seconds: float = START_SECONDS, stop_seconds: float = STOP_SECONDS
    ) -> None:
        """Each component may take `start_seconds` to start; all together are stopped within `stop_seconds`."""
        super().__init__(name)
        self._start_seconds, self._stop_seconds = start_seconds, stop_seconds
        self._order: Mapping[Key, bool] = {}
        self._wiring = Wiring()
        self._lives: dict[Key, Life] = {}
        self._started: list[Life] = []
        self._context = contextvars.Context()
        self._stopping = False
        self._counters = {"started": 0, "stopped": 0, "failed": 0}

    async def __aenter__(self) -> Self:
        self._unless_running("leave it")
        self._order = self._checked()
        self._wire()
        self._lives, self._started = {}, []
        self._context = contextvars.copy_context()
        self._running, self._stopping = True, False
        try:
            await self._start()
        except BaseException as error:
            for failure in await self._stopped():
                error.add_note(f"and while stopping: {type(failure).__name__}: {failure}")
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failures = await self._stopped()
        if failures and error is None:  # else the block's own error is what its caller has to hear of
            raise ExceptionGroup(f"{len(failures)} components of {self.name} did not stop as they should", failures)

    @overload
    async def get(self, key: Typed[C]) -> C: ...
    @overload
    async def get(self, key: str) -> Any: ...
    async def get(self, key: Any) -> Any:
        """A component, started first if it is lazy; who asks meanwhile waits for that one start.

        Raises Misconfigured for what nobody provides, Unavailable when the container is being stopped, else what the
        start fails with; the next who asks has it tried again.
        """
        component = self.component(key)
        if not self._running or self._stopping:
            raise Misconfigured(f"the container {self.name!r} does not run; ask within its `async with`")
        if component.kind is Kind.TASK:
            raise Misconfigured(f"{component.name} is a task; run `await container.tasks()` with a QuantumPartitioner")
        if self._order[key]:
            raise Misconfigured(f"{component.name} lives in a scope: `async with container.scope() as scope`")
        return await self._get(component)

    def scope(self) -> Scope:
        """A new scope; use as `async with`, within that of the container."""
        return Scope(self)

    async def tasks(self, *names: str) -> Partition:
        """The tasks of these names and all that they need (default: all tasks), as units for a QuantumPartitioner.

        Components and tasks are one graph: tasks are given the components that run; a lazy one that does not run yet is a
        unit, too, so that it is started when it is its turn. On processes components are pickled, and lazy ones must
        have been started before.
        """
        if not self._running or self._stopping:
            raise Misconfigured(f"the container {self.name!r} does not run; ask for its tasks within its `async with`")
        return await units(self, names or [key for key in self._order if self._is_task(key)], self._order)

    async def health(self) -> dict[str, Health]:
        """Every singleton by name; those that do not run are UNKNOWN, or DOWN when they failed."""
        asked = [component for component in self._components.values() if component.kind is Kind.SINGLETON]
        return dict(zip([one.name for one in asked], await asyncio.gather(*map(self._health, asked)), strict=True))

    def running(self, key: Key) -> bool:
        """Whether a component is there now."""
        life = self._lives.get(key)
        return life is not None and life.running

    def describe(self) -> Description:
        """The container as data: what it is given and what it gives; its parts are the components, with what they need."""
        kinds = {component.name: component.kind for component in self._components.values()}
        failed = any(life.failed for life in self._lives.values())
        return Description(
            "Container",
            self.name,
            inputs=tuple(name for name, kind in kinds.items() if kind is Kind.VALUE),
            outputs=tuple(name for name, kind in kinds.items() if kind is not Kind.VALUE),
            counters=dict(self._counters),
            health=Health.UNKNOWN if not self._running else Health.DEGRADED if failed else Health.OK,
            parts=(*map(self._described, self._components.values()), *map(self._injected, self._injections)),
        )

    def make(self, component: Component, given: Mapping[str, Any]) -> Any:
        """A new one of a component, for scopes; awaitable where its function is."""
        return self._wiring.make(component.key, given)

    # --- starting ----------------------------------------------------------------------------------------------------

    def _wire(self) -> None:
        self._wiring = Wiring()
        for key in self._order:
            component = self._components[key]
            needs = self.resolved(component)
            if component.kind is not Kind.TASK:
                self._wiring.add(component, needs, [self._components[needed].kind for needed in needs.values()])

    async def _start(self) -> None:
        for key in self._order:
            component = self._components[key]
            if component.kind is Kind.SINGLETON and not component.lazy:
                await self._singleton(component)
        wanted = dict.fromkeys(key for injection in self._injections for key in injection.keys)
        values = {key: await self.get(key) for key in wanted}
        for injection in self._injections:
            injection.set(values)

    async def _get(self, component: Component) -> Any:
        if component.kind is Kind.SINGLETON:
            return await self._singleton(component)
        if component.kind is Kind.VALUE:
            return component.make()
        await self._prepare(component)
        made = self._wiring.make(component.key)
        return await made if inspect.isawaitable(made) else made

    async def _singleton(self, component: Component) -> Any:
        life = self._lives.get(component.key)
        if life is None or life.failed:
            await self._prepare(component)
            life = self._lives.get(component.key)  # somebody else may have begun it meanwhile
            if life is None or life.failed:
                life = self._begin(component)
        return await life.value()

    async def _prepare(self, component: Component) -> None:
        """Start what it needs and what is not there yet, also by way of factories."""
        for key in self.resolved(component).values():
            needed = self._components[key]
            if needed.kind is Kind.SINGLETON:
                await self._singleton(needed)
            elif needed.kind is Kind.FACTORY:
                await self._prepare(needed)

    def _begin(self, component: Component) -> Life:
        if self._stopping:
            raise Unavailable(f"the container {self.name!r} is being stopped; {component.name} is not started any more")
        needs = tuple(ResourceId(self._components[key].name) for key in self.resolved(component).values())
        life = Life(
            Resource(ResourceId(component.name), component.kind, needs=needs),
            partial(self._wiring.make, component.key),
            enter=component.enter,
            seconds=self._start_seconds,
            tell=partial(self._hear, component.key),
            context=self._context.copy(),  # not that of whoever happens to be the first who asks
        )
        self._lives[component.key] = life
        return life

    def _hear(self, key: Key, life: Life) -> None:
        """A life has come so far."""
        if life.running:
            self._wiring.fill(key, life.resource.value)
            self._started.append(life)
            self._counters["started"] += 1
        else:
            self._counters["failed" if life.failed else "stopped"] += 1

    # --- stopping ----------------------------------------------------------------------------------------------------

    async def _stopped(self) -> list[Exception]:
        """All of it is over; whoever cancels us meanwhile is heard at the end."""
        self._stopping = True
        return await finished(asyncio.create_task(self._stop(), name=f"container {self.name} stops"))

    async def _stop(self) -> list[Exception]:
        deadline = asyncio.get_running_loop().time() + self._stop_seconds
        starting = [life for life in self._lives.values() if life not in self._started]
        failures = await asyncio.gather(*(self._end(life, deadline) for life in starting))  # nobody needs them yet
        failures += [await self._end(life, deadline) for life in reversed(self._started)]
        for injection in self._injections:
            injection.clear()  # only now: what drains may still call the functions
        self._wiring, self._started, self._running = Wiring(), [], False
        return [failure for failure in failures if failure is not None]

    async def _end(self, life: Life, deadline: float) -> Exception | None:
        left = deadline - asyncio.get_running_loop().time()
        failure = await life.stop(max(left * SHARE, LEAST_SECONDS))
        if failure is not None:
            log.error("container.stop", container=self.name, component=life.resource.id, error=repr(failure))
        return failure

    # --- what is seen of it ------------------------------------------------------------------------------------------

    async def _health(self, component: Component) -> Health:
        life = self._lives.get(component.key)
        return Health.UNKNOWN if life is None else await life.health(component.health)

    def _is_task(self, key: Key) -> bool:
        return self._components[key].kind is Kind.TASK

    def _node(self, component: Component) -> Node:
        life = self._lives.get(component.key)
        created = LifecycleState.CREATED if component.kind is Kind.SINGLETON else None
        return replace(super()._node(component), state=created if life is None else life.resource.state)

    def _described(self, component: Component) -> Description:
        node, life = self._node(component), self._lives.get(component.key)
        own = None if life is None else life.own()
        health = Health.OK if component.kind is Kind.VALUE else Health.UNKNOWN if life is None else life.seems()
        return Description(node.kind, node.name, inputs=node.needs, health=health, parts=() if own is None else (own,))

    def _injected(self, injection: Injection) -> Description:
        node = self._function(injection)
        return Description(node.kind, node.name, inputs=node.needs)
