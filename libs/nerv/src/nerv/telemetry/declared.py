# SPDX-License-Identifier: Apache-2.0
"""Every metric of the mesh: what it is, by what it is divided, and which services have it. docs/metrics.md is made of this.

What no declaration names cannot be measured (`telemetry.instruments`), and what is declared is seen in the demo, by a test.
Attributes have few values each: topics, groups, routes as templates, names of what an app declares; never a stream or an id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from nerv.telemetry import names as n

BROKER, TEMPORAL, PROJECTOR, SYNC, SCHEDULER = "broker", "temporal", "projector", "sync", "scheduler"
ALL: Final = (BROKER, TEMPORAL, PROJECTOR, SYNC, SCHEDULER)
OWNERS: Final = (BROKER, TEMPORAL)
WRITERS: Final = (BROKER, TEMPORAL, PROJECTOR)
READERS: Final = (BROKER, PROJECTOR, SCHEDULER)

# From a view in memory to a request that waits for a time-out, s; and records of a transaction, from one to a full one.
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LONG_SECONDS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
RECORDS: Final = (1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0)


class Kind(StrEnum):
    """How its values are to be read."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


SUFFIXES: Final = {"s": "_seconds", "By": "_bytes", "{event}/s": "_per_second"}


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric by its OpenTelemetry name; `unit` is UCUM's, as OpenTelemetry writes it."""

    name: str
    kind: Kind
    unit: str
    description: str
    attributes: tuple[str, ...] = ()
    services: tuple[str, ...] = ALL
    buckets: Sequence[float] = ()

    @property
    def prometheus(self) -> str:
        """What it is called on `/metrics`; a histogram has `_bucket`, `_sum` and `_count` behind that."""
        told = label(self.name) + SUFFIXES.get(self.unit, "")
        return told + "_total" if self.kind is Kind.COUNTER else told


def label(name: str) -> str:
    """A name as Prometheus writes it."""
    return name.replace(".", "_")


def _counter(
    name: str, unit: str, description: str, attributes: tuple[str, ...], services: tuple[str, ...] = ALL
) -> Metric:
    return Metric(name, Kind.COUNTER, unit, description, attributes, services)


def _gauge(
    name: str, unit: str, description: str, attributes: tuple[str, ...], services: tuple[str, ...] = ALL
) -> Metric:
    return Metric(name, Kind.GAUGE, unit, description, attributes, services)


def _seconds(
    name: str, description: str, attributes: tuple[str, ...], services: tuple[str, ...] = ALL,
    buckets: Sequence[float] = SECONDS,
) -> Metric:  # fmt: skip
    return Metric(name, Kind.HISTOGRAM, "s", description, attributes, services, buckets)


_LAG = (n.LAG_GROUP, n.LAG_TOPIC, n.LAG_PARTITION)
_OF_PROJECTION = (n.PROJECTION,)
_OF_PARTITION = (n.PROJECTION, n.PARTITION)
_OF_SYNC = (n.SYNC, n.SYNC_KIND)

_DECLARED: Final = (
    _seconds(
        n.REQUEST_DURATION,
        "From a request to its answer; of an answer without an end, to its beginning",
        (n.HTTP_METHOD, n.HTTP_ROUTE, n.HTTP_STATUS),
    ),
    _gauge(n.SERVICE_READY, "", "1 while the replica is ready, 0 while it is not", ()),
    _counter(n.SPANS_KEPT, "{span}", "Spans that the mesh keeps itself", ()),
    _counter(n.SPANS_DROPPED, "{span}", "Spans that were too many to wait, or that Redis did not take", ()),
    _gauge(n.CHECK_FAILED, "", "1 while a check keeps the replica from being ready", (n.CHECK,)),
    _seconds(
        n.OPERATION_DURATION,
        "Duration of a transaction of Kafka, by the topic or the group that it belongs to",
        (n.SYSTEM, n.OPERATION_NAME, n.DESTINATION, n.ERROR_TYPE),
        WRITERS,
    ),
    _counter(
        n.SENT_MESSAGES,
        "{message}",
        "Events that are published to a topic, or appended to history",
        (n.SYSTEM, n.DESTINATION),
        OWNERS,
    ),
    Metric(
        n.COMMIT_RECORDS, Kind.HISTOGRAM, "{record}", "Records of one transaction", (n.DESTINATION,), WRITERS, RECORDS
    ),
    _seconds(
        n.APPEND_DURATION,
        "From arrival to answer, of the request of a transaction that waited longest",
        (n.DESTINATION,),
        OWNERS,
    ),
    _gauge(n.PARTITIONS_SERVED, "{partition}", "Partitions that the replica has taken over", (n.DESTINATION,), OWNERS),
    _counter(
        n.OWNERSHIP_CHANGES,
        "{change}",
        "Partitions that the group gave to the replica (gained) or took from it (lost), and take-overs that failed (failed)",
        (n.DESTINATION, n.CHANGE),
        WRITERS,
    ),
    _counter(
        n.CONSUMED_MESSAGES,
        "{message}",
        "Records that a group has processed",
        (n.SYSTEM, n.DESTINATION, n.GROUP),
        READERS,
    ),
    _seconds(
        n.PROCESS_DURATION,
        "Duration of the work on one batch",
        (n.SYSTEM, n.OPERATION_NAME, n.GROUP, n.ERROR_TYPE),
        READERS,
    ),
    _gauge(n.GROUP_LAG, "", "Offsets of a partition that a group has not settled", _LAG, READERS),
    _gauge(
        n.GROUP_DELAY,
        "s",
        "Age of the oldest event of a partition that a group has read and not settled; 0 where there is none",
        _LAG,
        (BROKER, SCHEDULER),
    ),
    _counter(
        n.DEADLETTERS,
        "{message}",
        "Records that went to the dead letters, by where they came from and who could not process them",
        (n.DESTINATION, n.BY),
        WRITERS,
    ),
    _counter(n.REDIS_FAILURES, "{failure}", "Commands that Redis did not answer or did not take", (n.ERROR_TYPE,)),
    _gauge(n.QUEUE_DEPTH, "{task}", "Tasks that wait, are taken, or are due later", (n.QUEUE, n.STATE), (SCHEDULER,)),
    _gauge(n.QUEUE_LAG, "s", "Age of the oldest task that nobody has taken", (n.QUEUE,), (SCHEDULER,)),
    _gauge(n.POOL_BUSY, "{place}", "Places of a pool that are taken", (n.POOL,), (SCHEDULER,)),
    _gauge(n.POOL_SIZE, "{place}", "Places of a pool", (n.POOL,), (SCHEDULER,)),
    _counter(n.WORK_COUNT, "{event}", "What a replica has counted of its work", (n.WHAT,), (SCHEDULER,)),
    _seconds(
        n.WORK_DURATION,
        "Duration of one attempt, or of one quantum of small tasks",
        (n.WORKFLOW, n.WORK_KIND),
        (SCHEDULER,),
        LONG_SECONDS,
    ),
    _gauge(
        n.PROJECTION_DELAY,
        "s",
        "How long ago the last event that is folded of a partition was recorded; 0 where none is missing",
        _OF_PARTITION,
        (PROJECTOR,),
    ),
    _gauge(
        n.PROJECTION_POSITION, "{offset}", "The next offset of a partition to be folded", _OF_PARTITION, (PROJECTOR,)
    ),
    _gauge(n.PROJECTION_RATE, "{event}/s", "Events that this replica folds", _OF_PROJECTION, (PROJECTOR,)),
    _gauge(n.PROJECTION_FAILURES, "{failure}", "How often this replica started over", _OF_PROJECTION, (PROJECTOR,)),
    _gauge(n.PROJECTION_ENTITIES, "{view}", "Views", _OF_PROJECTION, (PROJECTOR,)),
    _gauge(n.PROJECTION_PARKED, "{key}", "Keys that are parked", _OF_PARTITION, (PROJECTOR,)),
    _gauge(n.PROJECTION_SIZE, "By", "Bytes of the views as they are stored", _OF_PARTITION, (PROJECTOR,)),
    _gauge(
        n.PROJECTION_REBUILDING,
        "",
        "1 while the live version has not yet come to what its sources held when it began",
        _OF_PROJECTION,
        (PROJECTOR,),
    ),
    _counter(
        n.SYNC_OBJECTS,
        "{object}",
        "Objects that runs wrote, by what became of them",
        (*_OF_SYNC, n.SYNC_ACTION, n.SYNC_OUTCOME),
        (SYNC,),
    ),
    _seconds(
        n.SYNC_DURATION,
        "Duration of the parts of runs; `plan` is what the diff costs",
        (*_OF_SYNC, n.SYNC_PART),
        (SYNC,),
        LONG_SECONDS,
    ),
    _counter(n.SYNC_RUNS, "{run}", "Runs that are over, by how they ended", (n.SYNC, n.STATUS), (SYNC,)),
    _seconds(
        n.CALL_DURATION,
        "Duration of calls that an app weaves the aspect Measured into",
        (n.CALL_TARGET, n.ERROR_TYPE),
        (),
    ),
)

METRICS: Final[Mapping[str, Metric]] = {metric.name: metric for metric in _DECLARED}
