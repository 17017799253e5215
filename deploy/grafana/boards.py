# SPDX-License-Identifier: Apache-2.0
"""The dashboards: one of the mesh, and one of each service."""

from collections.abc import Mapping, Sequence
from typing import Any

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import Dashboard, DashboardCursorSync

from deploy.grafana.panels import HALF, Query, chart, figure, gauge, legend, mean, metric, quantile, rate
from nerv.telemetry import names as n
from nerv.telemetry.declared import ALL

SERVICE = n.SERVICE_NAME
Panels = Sequence[Any]
SERVICE_LABEL = "service_name"


def errors(of: str, *by: str, matcher: str, **where: str) -> Query:
    """The share of what failed: 0 where nothing has."""
    every = rate(of, *by, suffix="_count", **where).expression
    inside = ",".join([matcher, *(f'{name}="{value}"' for name, value in sorted(where.items()))])
    selector = f"{metric(of, '_count')}{{{inside}}}"
    failed = every.replace(metric(of, "_count", **where), selector)
    return Query(f"({failed} or 0 * {every}) / {every}", legend(*by))


HTTP_FAILED, FAILED = 'http_response_status_code=~"5.."', 'error_type!=""'


def mesh() -> Panels:
    """How all of it does."""
    return (
        figure("Replicas that are ready", "short", gauge("sum", n.SERVICE_READY, SERVICE)),
        chart("Requests", "reqps", rate(n.REQUEST_DURATION, SERVICE, suffix="_count")),
        chart("Requests that failed", "percentunit", errors(n.REQUEST_DURATION, SERVICE, matcher=HTTP_FAILED)),
        chart("Duration of requests, p99", "s", quantile(0.99, n.REQUEST_DURATION, SERVICE)),
        chart("Events published and appended", "short", rate(n.SENT_MESSAGES, n.DESTINATION)),
        chart("Events processed", "short", rate(n.CONSUMED_MESSAGES, n.GROUP)),
        chart("Batches that failed", "percentunit", errors(n.PROCESS_DURATION, n.GROUP, matcher=FAILED)),
        chart("Lag of groups", "short", gauge("sum", n.GROUP_LAG, n.LAG_GROUP), about="Offsets that are not settled."),
        chart("Age of the oldest event that a group has not settled", "s", gauge("max", n.GROUP_DELAY, n.LAG_GROUP)),
        chart("Delay of projections", "s", gauge("max", n.PROJECTION_DELAY, n.PROJECTION)),
        chart("Appends, p99", "s", quantile(0.99, n.APPEND_DURATION, n.DESTINATION)),
        chart("Transactions, p99", "s", quantile(0.99, n.OPERATION_DURATION, n.DESTINATION)),
        chart("Partitions that changed hands", "short", rate(n.OWNERSHIP_CHANGES, SERVICE, n.CHANGE)),
        chart("Dead letters", "short", rate(n.DEADLETTERS, n.DESTINATION, n.BY)),
        chart("What Redis did not answer or take", "short", rate(n.REDIS_FAILURES, SERVICE)),
        chart("Spans that the mesh keeps", "short", rate(n.SPANS_KEPT, SERVICE)),
        chart("Spans that are not kept", "short", rate(n.SPANS_DROPPED, SERVICE)),
        chart("Tasks that wait", "short", gauge("max", n.QUEUE_DEPTH, n.STATE)),
        chart("Age of the oldest task that nobody has taken", "s", gauge("max", n.QUEUE_LAG)),
        chart("Cost of diffs, mean", "s", mean(n.SYNC_DURATION, n.SYNC, nerv_sync_part="plan")),
        chart("Memory", "bytes", Query("sum by (service_name) (process_resident_memory_bytes * on (instance, job) "
              "group_left (service_name) target_info)", legend(SERVICE))),
    )  # fmt: skip


def requests(service: str) -> Panels:
    """What every service has: rate, errors and duration of its routes, and whether it is ready."""
    of = {SERVICE_LABEL: service}
    return (
        figure("Ready", "short", gauge("sum", n.SERVICE_READY, **of), width=HALF),
        figure("Checks that fail", "short", gauge("max", n.CHECK_FAILED, n.CHECK, **of), width=HALF),
        chart("Requests", "reqps", rate(n.REQUEST_DURATION, n.HTTP_METHOD, n.HTTP_ROUTE, suffix="_count", **of)),
        chart("Requests that failed", "percentunit",
              errors(n.REQUEST_DURATION, n.HTTP_ROUTE, matcher=HTTP_FAILED, **of)),
        chart("Duration of requests, p99", "s", quantile(0.99, n.REQUEST_DURATION, n.HTTP_ROUTE, **of)),
    )  # fmt: skip


def process(service: str) -> Panels:
    """What its processes use."""
    of = f'on (instance, job) group_left () target_info{{service_name="{service}"}}'
    return (
        chart("Processors", "short", Query(f"rate(process_cpu_seconds_total[$__rate_interval]) * {of}", "{{instance}}")),
        chart("Memory", "bytes", Query(f"process_resident_memory_bytes * {of}", "{{instance}}")),
        chart("What Redis did not answer or take", "short", rate(n.REDIS_FAILURES, n.ERROR_TYPE, **{SERVICE_LABEL: service})),
    )  # fmt: skip


def transactions(service: str) -> Panels:
    """Of those that write to Kafka."""
    of = {SERVICE_LABEL: service}
    return (
        chart("Transactions", "s", *(quantile(share, n.OPERATION_DURATION, n.DESTINATION, **of) for share in (0.5, 0.99))),
        chart("Transactions that failed", "percentunit", errors(n.OPERATION_DURATION, n.DESTINATION, matcher=FAILED, **of)),
        chart("Records of a transaction", "short", mean(n.COMMIT_RECORDS, n.DESTINATION, **of)),
        chart("Partitions that changed hands", "short", rate(n.OWNERSHIP_CHANGES, n.DESTINATION, n.CHANGE, **of)),
        chart("Dead letters", "short", rate(n.DEADLETTERS, n.DESTINATION, n.BY, **of)),
    )  # fmt: skip


def processing(service: str) -> Panels:
    """Of those that read in groups."""
    of = {SERVICE_LABEL: service}
    return (
        chart("Events processed", "short", rate(n.CONSUMED_MESSAGES, n.GROUP, **of)),
        chart("Work on a batch, p99", "s", quantile(0.99, n.PROCESS_DURATION, n.GROUP, **of)),
        chart("Batches that failed", "percentunit", errors(n.PROCESS_DURATION, n.GROUP, matcher=FAILED, **of)),
        chart("Lag", "short", gauge("sum", n.GROUP_LAG, n.LAG_GROUP, n.LAG_TOPIC, **of)),
    )  # fmt: skip


def owning(service: str, what: str) -> Panels:
    """Of those that own partitions."""
    of = {SERVICE_LABEL: service}
    waits = (quantile(share, n.APPEND_DURATION, n.DESTINATION, **of) for share in (0.5, 0.99))
    return (
        chart(f"Events {what}", "short", rate(n.SENT_MESSAGES, n.DESTINATION, **of)),
        chart("From arrival to answer", "s", *waits, about="Of the request of a transaction that waited longest."),
        chart("Partitions served", "short", gauge("sum", n.PARTITIONS_SERVED, n.DESTINATION, **of)),
    )


def broker() -> Panels:
    """Publishing, reactions and groups."""
    delays = gauge("max", n.GROUP_DELAY, n.LAG_GROUP, service_name="broker")
    oldest = chart("Age of the oldest event that is not settled", "s", delays)
    return (*owning("broker", "published"), *processing("broker"), oldest, *transactions("broker"))


def temporal() -> Panels:
    """Appending."""
    return (*owning("temporal", "appended"), *transactions("temporal"))


def projector() -> Panels:
    """Folding, and the views."""
    return (
        chart("Events folded", "short", gauge("sum", n.PROJECTION_RATE, n.PROJECTION)),
        chart("Delay", "s", gauge("max", n.PROJECTION_DELAY, n.PROJECTION)),
        chart("Views", "short", gauge("sum", n.PROJECTION_ENTITIES, n.PROJECTION)),
        chart("Size of the views", "bytes", gauge("sum", n.PROJECTION_SIZE, n.PROJECTION)),
        chart("Position", "short", gauge("sum", n.PROJECTION_POSITION, n.PROJECTION)),
        chart("Keys that are parked", "short", gauge("sum", n.PROJECTION_PARKED, n.PROJECTION)),
        chart("Rebuilding", "short", gauge("max", n.PROJECTION_REBUILDING, n.PROJECTION)),
        chart("Started over", "short", gauge("sum", n.PROJECTION_FAILURES, n.PROJECTION)),
        *processing("projector"),
        *transactions("projector"),
    )


def sync() -> Panels:
    """Runs, what they cost and what they write."""
    return (
        chart("Cost of diffs, mean", "s", mean(n.SYNC_DURATION, n.SYNC, nerv_sync_part="plan")),
        chart("Parts of runs, mean", "s", mean(n.SYNC_DURATION, n.SYNC_PART)),
        chart("Objects written", "short", rate(n.SYNC_OBJECTS, n.SYNC, n.SYNC_ACTION, n.SYNC_OUTCOME)),
        chart("Runs that ended", "short", rate(n.SYNC_RUNS, n.SYNC, n.STATUS)),
    )


def scheduler() -> Panels:
    """The queue, the workers and what they do."""
    durations = (quantile(share, n.WORK_DURATION, n.WORKFLOW, n.WORK_KIND) for share in (0.5, 0.99))
    return (
        chart("Tasks that wait", "short", gauge("max", n.QUEUE_DEPTH, n.STATE)),
        chart("Age of the oldest task that nobody has taken", "s", gauge("max", n.QUEUE_LAG)),
        chart("Places taken", "short", gauge("sum", n.POOL_BUSY, n.POOL)),
        chart("Places", "short", gauge("sum", n.POOL_SIZE, n.POOL)),
        chart("Steals, quanta, failures", "short", rate(n.WORK_COUNT, n.WHAT)),
        chart("Work", "s", *durations),
        chart("Attempts and quanta", "short", rate(n.WORK_DURATION, n.WORKFLOW, n.WORK_KIND, suffix="_count")),
    )


OWN: Mapping[str, Any] = {
    "broker": broker, "temporal": temporal, "projector": projector, "sync": sync, "scheduler": scheduler
}  # fmt: skip


def boards() -> dict[str, Dashboard]:
    """Every dashboard by the name of its file."""
    made = {"mesh": _board("nerv-mesh", "NERV mesh", mesh())}
    for service in ALL:
        panels = (*requests(service), *OWN[service](), *process(service))
        made[service] = _board(f"nerv-{service}", f"NERV {service}", panels)
    return made


def _board(uid: str, title: str, panels: Panels) -> Dashboard:
    board = (
        dashboard.Dashboard(title)
        .uid(uid)
        .tags(["nerv"])
        .readonly()
        .refresh("10s")
        .time("now-15m", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    for panel in panels:
        board.with_panel(panel)
    return board.build()
