# SPDX-License-Identifier: Apache-2.0
"""An app with its queue and history in memory, and replicas of the scheduler that work on it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import nerv
from nerv.client import Client
from nerv.clock import SystemClock
from nerv.errors import Unavailable
from nerv.history.memory import MemoryHistory
from nerv.limits import Limits
from nerv.protocols import AppendOutcome, AppendRequest, Clock
from nerv.protocols.queue import RunState, TaskQueue
from nerv.testing.memory_queue import MemoryQueue
from nerv.types import Event
from nerv.workflows import Drawing, Output
from nerv_scheduler.attempt import Attempts, completions
from nerv_scheduler.controls import Controls, Searching
from nerv_scheduler.effects import Performer
from nerv_scheduler.fusing import Fusing
from nerv_scheduler.inputs import Inputs
from nerv_scheduler.interruptions import Interruptions
from nerv_scheduler.invoke import callees
from nerv_scheduler.keeper import Keeper
from nerv_scheduler.open_runs import OpenRuns
from nerv_scheduler.patience import Patience
from nerv_scheduler.pools import Processes, Threads
from nerv_scheduler.record import RunRecord, Wait
from nerv_scheduler.recorder import Recorder
from nerv_scheduler.results import Results
from nerv_scheduler.runs import Recovery, Starter
from nerv_scheduler.settings import WorkSettings
from nerv_scheduler.splitting import Splitting
from nerv_scheduler.steering import Steering
from nerv_scheduler.worker import Worker

FAST = WorkSettings(
    lease_seconds=0.5, retry_first_seconds=0.01, retry_longest_seconds=0.02, drain_seconds=0.2, concurrency=4
)


async def until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds; fail after a minute."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - some conditions come true in other threads
            await asyncio.sleep(0.01)


class Away(MemoryHistory):
    """A history that can be away for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[Callable[[AppendRequest], bool]] = []

    async def append(self, requests: Any) -> list[AppendOutcome]:
        """Unavailable for what a failure asks for, once each."""
        for request in requests:
            for failure in self.failures:
                if failure(request):
                    self.failures.remove(failure)
                    raise Unavailable("history is away")
        return await super().append(requests)


class NoTopics:
    """Topics in which nothing was written."""

    async def search(self, record: RunRecord, node: str, wait: Wait) -> bool:
        """False."""
        return False


class World:
    """An app, its queue and history in memory, and replicas that work."""

    def __init__(self, app: nerv.App, lease: float = FAST.lease_seconds, clock: Clock | None = None) -> None:
        self.app = app
        self.history = Away()
        self.clock = clock or SystemClock()
        self.results = Results(app.results, 1024**2, Patience())
        self.replace_queue(MemoryQueue(lease=lease))
        self.threads = Threads()
        self.searching: Searching = NoTopics()
        self.outside: tuple[str, ...] = ()
        self.counts: Counter[str] = Counter()
        self.fusing = Fusing(callees(app), FAST.quantum_seconds)

    def replace_queue(self, queue: MemoryQueue) -> None:
        """Begin with another queue, before anything is done."""
        app, self.queue = self.app, queue
        self.recorder = Recorder(self.history, Limits())
        self.starter = Starter(app, callees(app), self.queue, self.recorder, self.clock, "t.scheduler", "door", 10_000)
        self.open_runs = OpenRuns(self.history, self.clock, "t.scheduler")
        self.recovery = Recovery(self.queue, self.recorder, self.open_runs, self.clock, "t.scheduler", "door")
        self.steering = Steering(self.queue, self.recorder, self.recovery, self.clock, "t.scheduler", "door")

    @asynccontextmanager
    async def attempts(
        self, name: str, *, stealing: bool = True, performer: Performer | None = None
    ) -> AsyncIterator[Attempts]:
        """What makes attempts in a replica."""
        settings = FAST.model_copy(update={"stealing": stealing, "http_allow": self.outside})
        async with Processes(2, 0, self.threads) as processes:
            yield Attempts(
                app=self.app,
                callees=callees(self.app),
                queue=self.queue,
                recorder=self.recorder,
                performer=performer or Performer(self.history, Client({}), self.starter, SystemClock(), self.outside),
                client=None,
                threads=self.threads,
                processes=processes,
                fusing=self.fusing,
                interruptions=Interruptions(),
                controls=Controls(
                    self.queue,
                    self.recorder,
                    self.searching,
                    self.results,
                    Splitting(self.fusing, FAST.concurrency),
                    Patience(),
                    self.clock,
                    "t.scheduler",
                    name,
                    task_limit=100,
                ),
                inputs=Inputs(self.queue, self.results, Patience()),
                results=self.results,
                patience=Patience(),
                clock=self.clock,
                settings=settings,
                source="t.scheduler",
                worker=name,
                counts=self.counts,
                completed=completions(self.queue),
            )

    @asynccontextmanager
    async def replica(
        self, name: str = "one", *, stealing: bool = True, performer: Performer | None = None
    ) -> AsyncIterator[Worker]:
        """A worker, until the block ends."""

        @asynccontextmanager
        async def same_queue() -> AsyncIterator[TaskQueue]:
            yield self.queue

        async with AsyncExitStack() as stack:
            attempts = await stack.enter_async_context(self.attempts(name, stealing=stealing, performer=performer))
            keeper = await stack.enter_async_context(Keeper(same_queue, name, FAST.lease_seconds))
            yield await stack.enter_async_context(
                Worker(attempts, self.queue, keeper, self.recovery, attempts.settings)
            )

    async def ended(self, run: str) -> RunState:
        """The run, once it has ended."""
        async with asyncio.timeout(60):
            while True:
                state = await self.queue.show(run)
                if state is not None and state.status.ended:
                    return state
                await asyncio.sleep(0.01)

    async def types(self, run: str) -> list[str]:
        """The types of a run's events, without the parts that are always the same."""
        events = [event async for event in self.history.read(f"run-{run}")]
        return [event.type.removeprefix("nerv.").removesuffix(".v1") for event in events]

    async def stream(self, name: str) -> list[Event[bytes]]:
        """The events of a stream."""
        return [event async for event in self.history.read(name)]


class Noted(nerv.Event):
    """Something is noted."""

    n: int


def made(task: Callable[..., Any], *arguments: Any, retries: int = 0, timeout: float = 10.0) -> World:
    """A world whose workflow `w` calls one task; its event is `noted.v1`."""
    app = nerv.App("made")
    app.event("noted.v1", topic="made.noted.v1")(Noted)
    app.task(name="work", retries=retries, timeout=timeout)(task)

    @app.workflow("w")
    def workflow(w: Drawing) -> Output:
        return w.call("work", *arguments)

    return World(app)
