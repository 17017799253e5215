# SPDX-License-Identifier: Apache-2.0
"""Suite *telemetry*: what tracing costs the projector, which folds history, and the broker, which takes one event a request.

Measured as CPU of the process for an event, beside the same program without the calls that make spans: in turns, each round
compared with itself. A hundredth of the events of history are in sampled traces; for `all` it is each of them, and each has a
trace of its own, which is more than any mesh has. Spans go where a mesh keeps them, in Redis.
"""

import sys
from collections.abc import Sequence
from statistics import median

from rich.console import Console

from bench.broker.serving import PARTITIONS
from bench.harness import Contestant, Measured, kafka_for_measuring, redis_for_measuring, turns_of
from bench.projector.filling import fill, make_topics
from bench.telemetry.modes import Mode
from nerv.kafka import KafkaSettings
from nerv.kafka.admin import Admin
from nerv.topics import Topic, of_mesh

SAMPLED = {"few": 100, "every": 1}  # by mesh: one of so many events is in a sampled trace
PROJECTION = "totals"  # the cheapest work there is for an event, so that what is around it weighs most
EVENTS = 1_200_000
LEAST = 100_000
REQUESTS = 100_000
CONNECTIONS = 64
TOPIC = "bench.noted.v1"
ROUNDS = 5
MOST = {Mode.OFF: 1.0, Mode.HUNDREDTH: 3.0, Mode.ALL: None}  # % more CPU


def run(scale: float, console: Console) -> Sequence[Measured]:
    """Some twelve minutes at full size, seven at half of it."""
    with kafka_for_measuring(console.print) as bootstrap, redis_for_measuring() as redis_url:
        prepare(bootstrap, max(LEAST, int(EVENTS * scale)), console)
        told = (bootstrap, redis_url)
        requests = max(2000, int(REQUESTS * scale))
        return [
            *compare("projector", [_fold(mode, *told) for mode in Mode], console),
            *compare("broker", [_publish(mode, *told, requests) for mode in Mode], console),
        ]


def prepare(bootstrap: str, count: int, console: Console) -> None:
    """A history whose events are traced now and then, one in which all are, and the topic to publish to."""
    few, every = SAMPLED
    make_topics(bootstrap, few, [PROJECTION])
    admin = Admin(KafkaSettings(bootstrap_servers=bootstrap), "bench")
    admin.create(
        [*of_mesh(every, partitions=PARTITIONS, projections=[PROJECTION]), Topic(TOPIC, PARTITIONS)], replication=1
    )
    console.print(f"twice {count:,} events into Kafka")
    for mesh, share in SAMPLED.items():
        fill(bootstrap, mesh, count, traced=share)


def _fold(mode: Mode, bootstrap: str, redis_url: str) -> Contestant:
    mesh = "every" if mode is Mode.ALL else "few"
    program = [sys.executable, "-m", "bench.telemetry.fold"]
    return Contestant(mode, [*program, mode, bootstrap, redis_url, mesh, PROJECTION])


def _publish(mode: Mode, bootstrap: str, redis_url: str, requests: int) -> Contestant:
    program = [sys.executable, "-m", "bench.telemetry.publish"]
    return Contestant(mode, [*program, mode, bootstrap, redis_url, TOPIC, str(requests), str(CONNECTIONS)])


def compare(what: str, contestants: Sequence[Contestant], console: Console) -> list[Measured]:
    """How much more CPU each mode takes than the first, the median of the rounds, and from which to which round it was."""
    first, *others = turns_of(contestants, what, console, ROUNDS)
    made = [Measured(f"telemetry.{what}_cpu_seconds_a_million_without_spans", median(cpu for cpu, _ in first), "s")]
    for mode, turns in zip(list(Mode)[1:], others, strict=True):
        more = sorted((cpu / bare - 1) * 100 for (cpu, _), (bare, _) in zip(turns, first, strict=True))
        name = f"telemetry.{what}_more_cpu_{mode}"
        made.append(Measured(name, median(more), "%", most=MOST[mode]))
        made += [Measured(f"{name}_least", more[0], "%"), Measured(f"{name}_most", more[-1], "%")]
    return made
