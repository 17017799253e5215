# SPDX-License-Identifier: Apache-2.0
"""Suite *telemetry*: what tracing costs the projector, which folds history, and the broker, which takes one event a request.

Measured as CPU for an event, beside the same program without the calls that make spans, in windows of work that goes on
(`bench.telemetry.windows`): of the broker's process, and of the projector's thread that folds. A hundredth of the events of
history are in sampled traces; for `all` it is each of them, and each has a trace of its own, which is more than any mesh has.
A projector that catches up shows its work in so many traces a second (`nerv.telemetry.batches`), and does here. Spans go where
a mesh keeps them, in Redis. That an event looks whether it came with a trace, some 0.06 us, it does in all modes.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median, stdev

from rich.console import Console

from bench.broker.serving import PARTITIONS
from bench.harness import Contestant, Measured, kafka_for_measuring, progress, redis_for_measuring
from bench.projector.filling import fill, make_topics
from bench.telemetry.modes import Mode, enter
from bench.telemetry.publish import measure
from bench.telemetry.windows import SERIES, Noted, Share, rounds_of, share
from nerv.kafka import KafkaSettings
from nerv.kafka.admin import Admin
from nerv.topics import Topic, of_mesh

SAMPLED = {"few": 100, "every": 1}  # by mesh: one of so many events is in a sampled trace
PROJECTION = "totals"  # the cheapest work there is for an event, so that what is around it weighs most
TOPIC = "bench.noted.v1"
PROCESSES = 5  # of each service, since what tracing costs differs from one to the next
EVENTS = {"few": 1_000_000, "every": 300_000}
LEAST_EVENTS = 150_000  # two turns of the longest series
FOLDS = {"few": 5, "every": 3}
FOLD_SECONDS = 600.0  # no process may take longer for its folds
REQUESTS = {"few": 480_000, "every": 80_000}
LEAST_REQUESTS = 40_000  # two turns of the longest series
MOST = {Mode.OFF: 1.0, Mode.HUNDREDTH: 3.0, Mode.ALL: None}  # % more CPU


def run(scale: float, console: Console) -> Sequence[Measured]:
    """Half an hour at full size."""
    with kafka_for_measuring(console.print) as bootstrap, redis_for_measuring() as redis_url:
        processes, part = max(1, int(PROCESSES * scale)), min(1.0, PROCESSES * scale)
        prepare(bootstrap, {name: max(LEAST_EVENTS, int(count * part)) for name, count in EVENTS.items()}, console)
        names = [*SAMPLED] * processes
        folds = {name: max(1, int(count * part)) for name, count in FOLDS.items()}
        folded = [(name, _folded(bootstrap, redis_url, name, folds[name], console)) for name in names]
        enter(redis_url)
        requests = {name: max(LEAST_REQUESTS, int(count * part)) for name, count in REQUESTS.items()}
        published = [(name, measure(bootstrap, TOPIC, name, requests[name], console)) for name in names]
        return [*compare("projector", folded), *compare("broker", published)]


def prepare(bootstrap: str, events: Mapping[str, int], console: Console) -> None:
    """A history whose events are traced now and then, one in which all are, and the topic to publish to."""
    few, every = SAMPLED
    make_topics(bootstrap, few, [PROJECTION])
    admin = Admin(KafkaSettings(bootstrap_servers=bootstrap), "bench")
    admin.create(
        [*of_mesh(every, partitions=PARTITIONS, projections=[PROJECTION]), Topic(TOPIC, PARTITIONS)], replication=1
    )
    for mesh, one_of in SAMPLED.items():
        console.print(f"{events[mesh]:,} events into Kafka")
        fill(bootstrap, mesh, events[mesh], traced=one_of)


def _folded(bootstrap: str, redis_url: str, name: str, folds: int, console: Console) -> list[Noted]:
    """What a process of its own notes."""
    command = [sys.executable, "-m", "bench.telemetry.fold", bootstrap, redis_url, name, PROJECTION, str(folds)]
    with progress(console) as bar:
        task = bar.add_task(f"projector, {name}", total=folds)
        contestant = Contestant("projector", command, FOLD_SECONDS)
        told = contestant.figures(lambda text: bar.update(task, advance=1, description=text))
    return [Noted(cpu, int(number)) for cpu, number in zip(told[::2], told[1::2], strict=True)]


def compare(what: str, processes: Iterable[tuple[str, Sequence[Noted]]]) -> list[Measured]:
    """How much more CPU each mode takes of a service: the mean of its processes, the least and the most of them, and how far the
    mean may be off (one standard error).
    """
    bare: dict[str, list[float]] = defaultdict(list)
    shares: dict[Mode, list[Share]] = defaultdict(list)
    for name, noted in processes:
        rounds = rounds_of(SERIES[what][name], noted)
        bare[name] += rounds.bare
        for mode in rounds.more:
            shares[mode].append(share(rounds, mode))
    made = [Measured(f"telemetry.{what}_cpu_seconds_a_million_without_spans", median(bare["few"]), "s")]
    for mode, several in shares.items():
        more = [one.more for one in several]
        name = f"telemetry.{what}_more_cpu_{mode}"
        made += [
            Measured(name, fmean(more), "%", most=MOST[mode]),
            Measured(f"{name}_least", min(more), "%"),
            Measured(f"{name}_most", max(more), "%"),
            Measured(f"{name}_standard_error_of_mean", _error(several), "%"),
        ]
    return made


def _error(several: Sequence[Share]) -> float:
    """Of the mean: from how far the processes lie apart; of one process from how far its rounds do."""
    apart = [one.more for one in several]
    return several[0].error if len(several) == 1 else stdev(apart) / len(apart) ** 0.5
