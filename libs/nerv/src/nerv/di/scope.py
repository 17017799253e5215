# SPDX-License-Identifier: Apache-2.0
"""A scope: components that live as long as one request, one run, one batch."""

import asyncio
import inspect
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, overload

from nerv.di.component import C, Key, Kind, Typed
from nerv.di.life import entered
from nerv.errors import Misconfigured

if TYPE_CHECKING:
    from nerv.di.container import Container


class Scope:
    """Scoped components are made when they are first asked for, and stopped in reverse order at the end of the scope.

    What is not scoped comes from the container. Several tasks may ask; a component that is entered belongs to the task that
    asked first, which matters to those that hold a cancel scope of anyio.
    """

    def __init__(self, container: "Container") -> None:
        self._container = container
        self._stack = AsyncExitStack()
        self._values: dict[Key, Any] = {}
        self._lock = asyncio.Lock()
        self._open = False

    async def __aenter__(self) -> Self:
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        self._values.clear()
        # Components hear of the block's error, to roll back; it goes on to whoever opened the scope all the same.
        await self._stack.__aexit__(kind, error, trace)

    @overload
    async def get(self, key: Typed[C]) -> C: ...
    @overload
    async def get(self, key: str) -> Any: ...
    async def get(self, key: Any) -> Any:
        """A component: the scope's own, or the container's. Raises Misconfigured outside of the scope's `async with`."""
        async with self._lock:
            self._check()
            return await self._get(key)

    async def _get(self, key: Key) -> Any:
        if key in self._values:
            return self._values[key]
        component = self._container.component(key)
        if component.kind not in (Kind.SCOPED, Kind.FACTORY):
            return await self._container.get(key)
        needs = self._container.resolved(component)
        made = self._container.make(component, {name: await self._get(needed) for name, needed in needs.items()})
        if component.kind is Kind.FACTORY:
            return await made if inspect.isawaitable(made) else made
        value = await entered(made, self._stack, enter=component.enter)
        if not self._open:  # somebody else's task was late
            await self._stack.aclose()
        self._check()
        self._values[key] = value
        return value

    def _check(self) -> None:
        if not self._open:
            raise Misconfigured("the scope is not open; ask within its `async with`")
