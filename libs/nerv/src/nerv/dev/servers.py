# SPDX-License-Identifier: Apache-2.0
"""Kafka and Redis side by side: started together, or those that the environment names."""

import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from nerv.dev import jars, kafka, redis
from nerv.dev.kafka import Mode
from nerv.dev.ports import Ports
from nerv.dev.processes import Process, stop_together
from nerv.dev.starting import Server

KAFKA_VARIABLE = "KAFKA_BOOTSTRAP_SERVERS"
REDIS_VARIABLE = "REDIS_URL"
STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """Where the servers keep their data and logs. An address that is given is used as it is, and nothing is started."""

    data: Path
    logs: Path
    environment: Mapping[str, str]
    ports: Ports
    kafka: str | None = None
    redis: str | None = None
    persist: bool = False
    mode: Mode = "quick"

    @property
    def starts_something(self) -> bool:
        """Whether one of the two is not given."""
        return self.kafka is None or self.redis is None


@dataclass(frozen=True, slots=True)
class Servers:
    """The addresses, and the processes that we started for them (none for those that were given)."""

    kafka: str
    redis: str
    processes: tuple[Process, ...]

    def stop(self, hurry: threading.Event | None = None) -> None:
        """End what we started: SIGTERM, ten seconds, SIGKILL. Blocks."""
        stop_together(self.processes, STOP_SECONDS, hurry)


def given(variable: str) -> str | None:
    """An address from the environment; an empty one counts as none."""
    return os.environ.get(variable) or None


def start(plan: ServerPlan, progress: jars.Progress | None = None) -> Servers:
    """Start what is not given, both at the same time, and wait until they answer. Blocks.

    Raises Unavailable or Misconfigured; nothing of ours runs then.
    """
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(_kafka, plan, progress), pool.submit(_redis, plan)]
    up = [job.result() for job in jobs if job.exception() is None]
    ours = tuple(server.process for server in up if server.process is not None)
    try:
        addresses = [job.result().address for job in jobs]
    except BaseException:
        stop_together(ours, STOP_SECONDS)
        raise
    return Servers(addresses[0], addresses[1], ours)


def _kafka(plan: ServerPlan, progress: jars.Progress | None) -> Server:
    if plan.kafka is not None:
        return Server(plan.kafka, None)
    log = plan.logs / "kafka.log"
    return kafka.start(
        plan.data / "kafka", plan.environment, log=log, ports=plan.ports, mode=plan.mode, progress=progress
    )


def _redis(plan: ServerPlan) -> Server:
    if plan.redis is not None:
        return Server(plan.redis, None)
    log = plan.logs / "redis.log"
    return redis.start(plan.data / "redis", plan.environment, log=log, ports=plan.ports, persist=plan.persist)
