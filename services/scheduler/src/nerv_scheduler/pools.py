# SPDX-License-Identifier: Apache-2.0
"""Threads and processes that tasks run in.

Of processes there are as many as there is work, up to a bound; none when there has been none for a while. They are the
partitioner's (`nerv.partition.processes`): started without forking this process, watched, ended with it.
"""

import asyncio
import contextvars
import functools
import math
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from nerv.errors import Misconfigured
from nerv.partition.child import Hop, Reply, pack, unpack
from nerv.partition.processes import Child, Children, Died
from nerv.partition.unit import Unit

IDLE_SECONDS = 30.0


class Threads:
    """One thread a call, so that one that never ends holds up nobody else. They are daemons: the process ends without them.

    The caller bounds how many run; `running` counts those that do, also after their time-out.
    """

    def __init__(self) -> None:
        self.running = 0

    async def call(self, function: Callable[[], Any]) -> Any:
        """What `function` returns or raises. Cancelled, the thread goes on and its outcome is dropped."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()

        def done(value: Any, error: BaseException | None) -> None:
            self.running -= 1
            if outcome.done():
                return
            if error is not None:
                outcome.set_exception(error)
            else:
                outcome.set_result(value)

        def body() -> None:
            value: Any = None
            error: BaseException | None = None
            try:
                value = context.run(function)
            except Exception as raised:
                # A future does not take StopIteration.
                error = RuntimeError(f"StopIteration: {raised}") if isinstance(raised, StopIteration) else raised
            except BaseException as raised:  # SystemExit: it is the task's failure, and must not end the loop
                error = RuntimeError(f"it raised {type(raised).__name__}: {raised}")
            if not loop.is_closed():
                loop.call_soon_threadsafe(done, value, error)

        self.running += 1
        threading.Thread(target=body, name="nerv-task", daemon=True).start()
        return await outcome


class _Calling:
    """One call: the process it runs in, once there is one, and whether it is given up."""

    def __init__(self) -> None:
        self._child: Child | None = None
        self._given_up = self._begun = False
        self._lock = threading.Lock()

    def given_up(self) -> bool:
        return self._given_up

    def take(self, child: Child) -> bool:
        with self._lock:
            if not self._given_up:
                self._child = child
            return not self._given_up

    def begin(self) -> None:
        with self._lock:
            self._begun = True

    def leave(self) -> None:
        with self._lock:
            self._child = None

    def give_up(self) -> None:
        with self._lock:
            self._given_up = True
            if self._child is None:
                return
            self._child.kill()
            if not self._begun:  # who performs closes it; here nobody does
                threading.Thread(target=self._child.close, name="nerv-processes", daemon=True).start()


class Processes:
    """At most `most` processes, each with at most `memory` bytes of address space (0: no bound)."""

    def __init__(self, most: int, memory: int, threads: Threads) -> None:
        self.busy = 0
        self._most = most
        self._children = Children(memory)
        self._children.kept = True
        self._threads = threads
        self._room = asyncio.Semaphore(most)
        self._idle: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._idle is not None:
            self._idle.cancel()
        await asyncio.to_thread(self._children.close)

    @property
    def most(self) -> int:
        """The most processes."""
        return self._most

    async def call(self, function: Callable[..., Any], arguments: Sequence[Any], seconds: float | None = None) -> Any:
        """What `function` returns or raises in a process. Cancelled, the process is killed.

        `seconds` bound the call, and not the start of a process for it. Raises TimeoutError, RuntimeError when the process died,
        Misconfigured for what cannot be sent there.
        """
        job = packed(function, arguments)
        async with self._room:
            self.busy += 1
            calling = _Calling()
            try:
                child: Child = await self._threads.call(lambda: self._taken(calling))
                async with asyncio.timeout(seconds):
                    reply = await self._threads.call(lambda: self._perform(child, job, calling))
            finally:
                calling.give_up()
                self.busy -= 1
                self._linger()
        value = unpack(reply.payload)
        if not reply.ok:
            raise value
        return value

    def _taken(self, calling: _Calling) -> Child:
        """A process for a call, ready."""
        child = self._children.take(calling.given_up)
        if child is not None and calling.take(child):
            return child
        if child is not None:
            self._children.give(child)
        raise RuntimeError("the call was given up before a process was ready")

    def _perform(self, child: Child, job: bytes, calling: _Calling) -> Reply:
        calling.begin()
        try:
            [reply] = child.perform(Hop([job], math.inf, True))
        except Died:
            calling.leave()
            child.close()
            raise RuntimeError(
                "the process that ran it has died; if it ran out of memory, let it do less at once"
            ) from None
        calling.leave()
        self._children.give(child)
        return reply

    def _linger(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._shrink)

    def _shrink(self) -> None:
        if not self.busy:
            threading.Thread(target=self._children.drop, name="nerv-processes", daemon=True).start()


def packed(function: Callable[..., Any], arguments: Sequence[Any]) -> bytes:
    """A call as it is sent to a process. Raises Misconfigured."""
    unit = Unit("task", functools.partial(function, *arguments), ())
    try:
        return pack((unit, {}, None))
    except Exception as error:  # user classes fail in any way when they are pickled
        name = getattr(function, "__qualname__", repr(function))
        raise Misconfigured(
            f"{name} cannot be sent to a process: {error}; declare it at the top of a module that can be imported"
        ) from None
