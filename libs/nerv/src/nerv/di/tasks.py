# SPDX-License-Identifier: Apache-2.0
"""Tasks and the components that they need, as units of one graph for a partitioner."""

import asyncio
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from nerv.di.component import Component, Key, Kind, name_of
from nerv.errors import Misconfigured
from nerv.partition import Partition, Unit

if TYPE_CHECKING:
    from nerv.di.container import Container


class Starting:
    """What a unit calls to have a lazy component started: on the container's own loop, wherever the unit runs."""

    def __init__(self, container: "Container", key: Key) -> None:
        self._container, self._key = container, key
        self._loop = asyncio.get_running_loop()

    async def __call__(self, *_: Any) -> Any:
        """The component. What it needs has been started by the units before it."""
        asked = self._container.get(self._key)
        if asyncio.get_running_loop() is self._loop:
            return await asked
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asked, self._loop))

    def __reduce__(self) -> NoReturn:
        name = name_of(self._key)
        raise Misconfigured(
            f"{name} is lazy and does not run; processes cannot start what the container has. "
            f"Ask for it before: await container.get({name}), or run the tasks on threads"
        )


async def units(container: "Container", names: Iterable[Key], ordered: Iterable[Key]) -> Partition:
    """The units of these tasks, and of all that must run before them."""
    wanted = _closure(container, names)
    partition = Partition()
    for key in ordered:
        component = container.component(key)
        if key in wanted and component.kind is Kind.TASK:
            partition.add(await _task(container, component))
        elif key in wanted and _idle(container, key):
            needed = [container.component(need) for need in container.resolved(component).values()]
            needs = tuple(one.name for one in needed if _idle(container, one.key))
            partition.add(Unit(component.name, Starting(container, key), needs, group=f"start {component.name}"))
    return partition


async def _task(container: "Container", component: Component) -> Unit:
    given: dict[str, Any] = {}
    needs: dict[str, str] = {}
    for parameter, key in container.resolved(component).items():
        needed = container.component(key)
        if needed.kind is Kind.TASK or _idle(container, key):
            needs[parameter] = needed.name
        else:
            given[parameter] = await container.get(key)
    make = component.make
    return Unit(
        component.name,
        partial(make, **given) if given else make,
        tuple(needs.values()),
        tuple(needs),
        timeout=component.timeout,
        group=getattr(make, "__qualname__", component.name),
    )


def _idle(container: "Container", key: Key) -> bool:
    return container.component(key).kind is Kind.SINGLETON and not container.running(key)


def _closure(container: "Container", names: Iterable[Key]) -> Mapping[Key, None]:
    """These tasks and all that they need, themselves or by way of others."""
    found: dict[Key, None] = {}
    waiting = list(names)
    for name in waiting:
        if container.component(name).kind is not Kind.TASK:
            raise Misconfigured(f"{name_of(name)} is no task; ask for it with `await container.get(...)`")
    while waiting:
        key = waiting.pop()
        if key not in found:
            found[key] = None
            waiting += container.resolved(container.component(key)).values()
    return found
