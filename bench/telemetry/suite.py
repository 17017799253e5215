# SPDX-License-Identifier: Apache-2.0
"""Suite *telemetry*: what tracing costs the projector, which folds history, and the broker, which takes one event a request.

Measured as CPU for an event, beside the same program without the calls that make spans: in turns, each compared with its
neighbour. A hundredth of the events of history are in sampled traces; for `all` it is each of them, and each has a trace of its
own, which is more than any mesh has. Spans go where a mesh keeps them, in Redis.
"""

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median, stdev

import uvloop
from rich.console import Console

from bench.broker.serving import PARTITIONS, serving
from bench.harness import Contestant, Measured, kafka_for_measuring, progress, redis_for_measuring
from bench.projector.filling import fill, make_topics
from bench.telemetry.modes import TURNS, Mode, enter
from bench.telemetry.publish import measure
from nerv.kafka import KafkaSettings
from nerv.kafka.admin import Admin
from nerv.topics import Topic, of_mesh

SAMPLED = {"few": 100, "every": 1}  # by mesh: one of so many events is in a sampled trace
PROJECTION = "totals"  # the cheapest work there is for an event, so that what is around it weighs most
EVENTS = 200_000
# A turn: some 0.3 s. Longer ones are not alike any more: the machine's moods last from there on, and change by a tenth.
REQUESTS = 3_000
CONNECTIONS = 64
TOPIC = "bench.noted.v1"
# Processes, since what tracing costs differs from one to the next, and rounds of two turns of each mode in one.
FOLDS, ROUNDS = 4, 5  # few rounds: replicas that were leave some of a process behind
BROKERS, BROKER_ROUNDS = 5, 10
MOST = {Mode.OFF: 1.0, Mode.HUNDREDTH: 3.0, Mode.ALL: None}  # % more CPU


def run(scale: float, console: Console) -> Sequence[Measured]:
    """Some thirteen minutes at full size."""
    with kafka_for_measuring(console.print) as bootstrap, redis_for_measuring() as redis_url:
        prepare(bootstrap, EVENTS, console)
        folded = _folded(bootstrap, redis_url, max(1, int(FOLDS * scale)), console)
        published = _published(bootstrap, redis_url, max(1, int(BROKERS * scale)), console)
        return [
            *compare("projector", folded),
            *compare("broker", published),
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


def _folded(bootstrap: str, redis_url: str, count: int, console: Console) -> dict[Mode, list[float]]:
    command = [sys.executable, "-m", "bench.telemetry.fold", bootstrap, redis_url, *SAMPLED, PROJECTION, str(ROUNDS)]
    found: dict[Mode, list[float]] = defaultdict(list)
    with progress(console) as bar:
        task = bar.add_task("projector", total=count * (ROUNDS + 1) * len(TURNS))
        for _ in range(count):
            told = Contestant("projector", command).figures(lambda text: bar.update(task, advance=1, description=text))
            for mode, cpu in zip(TURNS * ROUNDS, told, strict=True):
                found[mode].append(cpu)
    return found


def _published(bootstrap: str, redis_url: str, count: int, console: Console) -> dict[Mode, list[float]]:
    path = f"/v1/topics/{TOPIC}/events?guarantee=at-least-once"
    enter(redis_url)
    found: dict[Mode, list[float]] = defaultdict(list)
    for number in range(1, count + 1):
        console.print(f"broker: process {number} of {count}")
        with serving("ours", bootstrap, TOPIC, "bench.telemetry.switching") as server:
            for mode, turns in uvloop.run(measure(server, path, REQUESTS, CONNECTIONS, BROKER_ROUNDS, console)).items():
                found[mode] += turns
    return found


def compare(what: str, found: Mapping[Mode, Sequence[float]]) -> list[Measured]:
    """How much more CPU each mode takes than the first: the median of the rounds, from which to which round it was, and how far
    the mean of so many rounds may be off (one standard error).
    """
    bare, *modes = Mode
    made = [Measured(f"telemetry.{what}_cpu_seconds_a_million_without_spans", median(found[bare]), "s")]
    for mode in modes:
        more = sorted((cpu / least - 1) * 100 for cpu, least in zip(found[mode], found[bare], strict=True))
        name = f"telemetry.{what}_more_cpu_{mode}"
        made.append(Measured(name, median(more), "%", most=MOST[mode]))
        made += [Measured(f"{name}_least", more[0], "%"), Measured(f"{name}_most", more[-1], "%")]
        made.append(Measured(f"{name}_standard_error_of_mean", stdev(more) / len(more) ** 0.5, "%"))
    return made
