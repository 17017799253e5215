# SPDX-License-Identifier: Apache-2.0
"""The wiring of what the worker stands on, and of what goes on beside it: awaited events, schedules, the sweeper."""

from dependency_injector import containers, providers

from nerv.app import App, find_app
from nerv.client import Client
from nerv.clock import SystemClock
from nerv.errors import Misconfigured
from nerv.redis import connect
from nerv.service import Health
from nerv.service.peers import client_of
from nerv_scheduler.awaiting import Deliverer, Listener, Searcher
from nerv_scheduler.awaiting.matching import Matching
from nerv_scheduler.controls import Controls
from nerv_scheduler.fusing import Fusing
from nerv_scheduler.invoke import callees
from nerv_scheduler.open_runs import OpenRuns
from nerv_scheduler.patience import Patience
from nerv_scheduler.queue.opening import make_queue
from nerv_scheduler.recorder import Recorder
from nerv_scheduler.results import Results
from nerv_scheduler.runs import Recovery, Starter
from nerv_scheduler.schedules import Schedules, Ticking
from nerv_scheduler.settings import SchedulerSettings, WorkSettings
from nerv_scheduler.splitting import Splitting
from nerv_scheduler.steering import Steering
from nerv_scheduler.sweeper import Sweeper


def make_client(settings: SchedulerSettings) -> Client:
    """The client of history, of effects, and of tasks that ask for one. Raises Misconfigured."""
    if settings.services.temporal is None:
        raise Misconfigured("the scheduler keeps its runs in temporal; set NERV_SERVICES__TEMPORAL to its URL")
    return client_of(settings)


def make_results(app: App, work: WorkSettings, patience: Patience) -> Results:
    """Where large results are kept: by the settings, or else as the app says. Raises Misconfigured."""
    return Results(work.results or app.results, work.result_bytes, patience)


class Ground(containers.DeclarativeContainer):
    """Who gets what."""

    settings = providers.Dependency(instance_of=SchedulerSettings)
    work = settings.provided.scheduler
    name = providers.Callable("scheduler-{}".format, settings.provided.instance)
    source = providers.Callable("{}.scheduler".format, settings.provided.mesh)
    app = providers.Singleton(find_app, settings.provided.app)
    callees = providers.Singleton(callees, app)
    clock = providers.Singleton(SystemClock)
    health = providers.Singleton(Health)
    redis = providers.Singleton(connect, settings.provided.redis, name)
    queue = providers.Singleton(make_queue, redis, settings)
    client = providers.Singleton(make_client, settings)
    recorder = providers.Singleton(Recorder, client.provided.streams, settings.provided.limits)
    starter = providers.Singleton(
        Starter, app, callees, queue, recorder, clock, source, settings.provided.instance, work.tasks
    )
    patience = providers.Singleton(Patience)
    results = providers.Singleton(make_results, app, work, patience)
    open_runs = providers.Singleton(OpenRuns, client.provided.streams, clock, source)
    recovery = providers.Singleton(Recovery, queue, recorder, open_runs, clock, source, settings.provided.instance)
    steering = providers.Singleton(Steering, queue, recorder, recovery, clock, source, settings.provided.instance)
    schedules = providers.Singleton(Schedules, app, client.provided.streams, clock, source)
    ticking = providers.Singleton(Ticking, schedules, starter, recorder, steering, clock)
    sweeper = providers.Singleton(Sweeper, queue, recovery, work.sweep_seconds)
    matching = providers.Singleton(Matching, app)
    deliverer = providers.Singleton(Deliverer, queue, recorder, recovery, clock, source, settings.provided.instance)
    listener = providers.Singleton(
        Listener, settings.provided.kafka, name, source, matching, queue, deliverer, patience
    )
    fusing = providers.Singleton(Fusing, callees, work.quantum_seconds)
    splitting = providers.Singleton(Splitting, fusing, work.concurrency)
    controls = providers.Singleton(
        Controls,
        queue=queue,
        recorder=recorder,
        searching=providers.Singleton(Searcher, settings.provided.kafka, name, matching, deliverer),
        results=results,
        splitting=splitting,
        patience=patience,
        clock=clock,
        source=source,
        worker=settings.provided.instance,
        task_limit=work.tasks,
    )
