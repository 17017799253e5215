# SPDX-License-Identifier: Apache-2.0
"""Suite *telemetry*: what tracing costs the projector, which folds history, and the broker, which takes one event a request.

Measured as CPU for an event, beside the same program without the calls that make spans: of the projector in turns, each compared
with its neighbour, of the broker in windows of a load that goes on (`bench.telemetry.windows`). A hundredth of the events of
history are in sampled traces; for `all` it is each of them, and each has a trace of its own, which is more than any mesh has.
Spans go where a mesh keeps them, in Redis.
"""

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean, median, stdev

from rich.console import Console

from bench.broker.serving import PARTITIONS
from bench.harness import Contestant, Measured, kafka_for_measuring, progress, redis_for_measuring
from bench.projector.filling import fill, make_topics
from bench.telemetry.modes import TURNS, Mode, enter
from bench.telemetry.publish import measure
from bench.telemetry.windows import SERIES, Share, rounds_of, share
from nerv.kafka import KafkaSettings
from nerv.kafka.admin import Admin
from nerv.topics import Topic, of_mesh

SAMPLED = {"few": 100, "every": 1}  # by mesh: one of so many events is in a sampled trace
PROJECTION = "totals"  # the cheapest work there is for an event, so that what is around it weighs most
EVENTS = 200_000
TOPIC = "bench.noted.v1"
# Processes, since what tracing costs differs from one to the next.
FOLDS, BROKERS = 4, 5
ROUNDS = 5  # two turns of each mode; few of them, for replicas that were leave some of a process behind
REQUESTS = {"few": 480_000, "every": 80_000}
MOST = {Mode.OFF: 1.0, Mode.HUNDREDTH: 3.0, Mode.ALL: None}  # % more CPU


def run(scale: float, console: Console) -> Sequence[Measured]:
    """Some fifteen minutes at full size."""
    with kafka_for_measuring(console.print) as bootstrap, redis_for_measuring() as redis_url:
        prepare(bootstrap, EVENTS, console)
        folded = _folded(bootstrap, redis_url, max(1, int(FOLDS * scale)), console)
        return [*compare(folded), *_published(bootstrap, redis_url, max(1, int(BROKERS * scale)), console)]


def prepare(bootstrap: str, count: int, console: Console) -> None:
    """A history whose events are traced now and then, one in which all are, and the topic to publish to."""
    few, every = SAMPLED
    make_topics(bootstrap, few, [PROJECTION])
    admin = Admin(KafkaSettings(bootstrap_servers=bootstrap), "bench")
    admin.create(
        [*of_mesh(every, partitions=PARTITIONS, projections=[PROJECTION]), Topic(TOPIC, PARTITIONS)], replication=1
    )
    console.print(f"twice {count:,} events into Kafka")
    for mesh, one_of in SAMPLED.items():
        fill(bootstrap, mesh, count, traced=one_of)


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


def _published(bootstrap: str, redis_url: str, processes: int, console: Console) -> list[Measured]:
    enter(redis_url)
    bare: list[float] = []
    shares: dict[Mode, list[Share]] = defaultdict(list)
    for number in range(processes):
        for name, requests in REQUESTS.items():
            console.print(f"broker: process {number + 1} of {processes}, series {name}")
            rounds = rounds_of(SERIES[name], measure(bootstrap, TOPIC, name, requests, console))
            bare += rounds.bare
            for mode in rounds.more:
                shares[mode].append(share(rounds, mode))
    made = [Measured("telemetry.broker_cpu_seconds_a_million_without_spans", median(bare), "s")]
    for mode, several in shares.items():
        more = [one.more for one in several]
        made += _told("broker", mode, fmean(more), (min(more), max(more)), _error(several))
    return made


def _error(several: Sequence[Share]) -> float:
    """Of the mean: from how far the processes lie apart; of one process from how far its rounds do."""
    apart = [one.more for one in several]
    return several[0].error if len(several) == 1 else stdev(apart) / len(apart) ** 0.5


def _told(what: str, mode: Mode, more: float, span: tuple[float, float], error: float) -> list[Measured]:
    """`span` is from which to which round it was, and of the broker from which to which process."""
    name = f"telemetry.{what}_more_cpu_{mode}"
    return [
        Measured(name, more, "%", most=MOST[mode]),
        Measured(f"{name}_least", span[0], "%"),
        Measured(f"{name}_most", span[1], "%"),
        Measured(f"{name}_standard_error_of_mean", error, "%"),
    ]


def compare(found: Mapping[Mode, Sequence[float]]) -> list[Measured]:
    """How much more CPU each mode takes than the first: the median of the rounds, from which to which round it was, and how far
    the mean of so many rounds may be off (one standard error).
    """
    bare, *modes = Mode
    made = [Measured("telemetry.projector_cpu_seconds_a_million_without_spans", median(found[bare]), "s")]
    for mode in modes:
        more = sorted((cpu / least - 1) * 100 for cpu, least in zip(found[mode], found[bare], strict=True))
        made += _told("projector", mode, median(more), (more[0], more[-1]), stdev(more) / len(more) ** 0.5)
    return made
