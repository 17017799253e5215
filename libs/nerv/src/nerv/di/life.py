# SPDX-License-Identifier: Apache-2.0
"""One life of one component, from its start to its end."""

import asyncio
import inspect
from collections.abc import Callable
from contextlib import AsyncExitStack
from contextvars import Context
from typing import Any

from nerv.cancelling import end
from nerv.di.component import HealthCheck
from nerv.errors import Unavailable
from nerv.types import Description, Health, LifecycleState, Resource

HEALTH_SECONDS = 2.0  # a probe of Kubernetes does not wait for much longer
INSIST_SECONDS = 0.5  # for what was late to react to its cancellation, which may get lost once (see nerv.cancelling)


class Life:
    """A task of its own makes the component and stops it: nobody who asks for it and is then cancelled cuts it short, and a
    context manager of anyio, for one, must be left by the task that entered it.
    """

    def __init__(
        self,
        resource: Resource[Any],
        make: Callable[[], Any],
        *,
        enter: bool,
        seconds: float,
        tell: Callable[["Life"], None],
        context: Context,
    ) -> None:
        """Begin it on the running loop. `make` may take `seconds`; `tell` hears when it runs, has stopped, or has failed."""
        self.resource = resource.to(LifecycleState.STARTING)
        self.failure: Exception | None = None
        self._make, self._enter, self._seconds, self._tell = make, enter, seconds, tell
        loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[Any] = loop.create_future()
        self._ending = asyncio.Event()
        self._task = loop.create_task(self._live(), name=f"component {resource.id}", context=context)
        self._task.add_done_callback(self._over)

    @property
    def running(self) -> bool:
        """Whether it has been started and not been stopped."""
        return self.resource.state is LifecycleState.RUNNING

    @property
    def failed(self) -> bool:
        """Whether it has ended as it should not."""
        return self.resource.state is LifecycleState.FAILED

    async def value(self) -> Any:
        """The component, as soon as it is there. Raises what its start has failed with."""
        return await asyncio.shield(self._ready)

    async def stop(self, seconds: float) -> Exception | None:
        """End it, and give what went wrong. Breaks off a start. What takes longer than `seconds` is cancelled, and left
        behind if even that does not end it.
        """
        task, starting = self._task, not self._ready.done()
        if task.done():
            return None
        self._ending.set()
        if starting:
            task.cancel()
        await asyncio.wait([task], timeout=seconds)
        if not task.done():
            await end(task, INSIST_SECONDS)
            left = "" if task.done() else ", and it goes on although it was cancelled"
            return Unavailable(
                f"{self.resource.id} did not stop within {seconds:.3g} s{left}; look for what it waits for"
            )
        return None if starting else self.failure  # whoever asked for it knows that the start was broken off

    async def health(self, check: HealthCheck | None) -> Health:
        """What `check` says, or what it seems without one."""
        if check is None or not self.running:
            return self.seems()
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                found = check(self.resource.value)
                if inspect.isawaitable(found):
                    found = await found
        except Exception:  # whatever a check raises, it means that it is not well
            return Health.DOWN
        if isinstance(found, Health):
            return found
        return Health.DOWN if found is False else Health.OK

    def seems(self) -> Health:
        """UNKNOWN while it does not run, DOWN when it failed, else what it says of itself."""
        if not self.running:
            return Health.DOWN if self.failed else Health.UNKNOWN
        own = self.own()
        return Health.OK if own is None else own.health

    def own(self) -> Description | None:
        """What the component says of itself, if it runs and can."""
        describe = getattr(self.resource.value, "describe", None) if self.running else None
        try:
            found = describe() if callable(describe) else None
        except Exception as error:  # as with checks
            return Description(type(error).__name__, str(error), health=Health.DOWN)
        return found if isinstance(found, Description) else None

    async def _live(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                value = await self._start(stack)
                self.resource = self.resource.to(LifecycleState.RUNNING, value=value)
                self._tell(self)
                self._ready.set_result(value)
                await self._ending.wait()
                self.resource = self.resource.to(LifecycleState.STOPPING)
            self.resource = self.resource.to(LifecycleState.STOPPED)
            self._tell(self)
        except Exception as error:
            self._fail(error)

    def _over(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled():  # perhaps before its first step
            self._fail(Unavailable(f"{self.resource.id} was cancelled while it was {self.resource.state}"))

    async def _start(self, stack: AsyncExitStack) -> Any:
        try:
            async with asyncio.timeout(self._seconds) as limit:
                return await entered(self._make(), stack, enter=self._enter)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise Unavailable(
                f"{self.resource.id} did not start within {self._seconds:g} s; is what it waits for up?"
            ) from error

    def _fail(self, error: Exception) -> None:
        self.failure = error
        self.resource = self.resource.to(LifecycleState.FAILED, error=f"{type(error).__name__}: {error}")
        self._tell(self)
        if not self._ready.done():
            self._ready.set_exception(error)
            self._ready.exception()  # that nobody waits for it any more is no mistake


async def entered(made: Any, stack: AsyncExitStack, *, enter: bool) -> Any:
    """What was made: awaited, and entered where it is a context manager; `stack` leaves it again."""
    value = await made if inspect.isawaitable(made) else made
    if enter and hasattr(value, "__aenter__"):
        return await stack.enter_async_context(value)
    return stack.enter_context(value) if enter and hasattr(value, "__enter__") else value
