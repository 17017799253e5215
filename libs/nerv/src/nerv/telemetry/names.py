# SPDX-License-Identifier: Apache-2.0
"""Every attribute, span and metric name of the mesh (OpenTelemetry semantic conventions for messaging and databases)."""

from typing import Final

SERVICE_NAME: Final = "service.name"
SYSTEM: Final = "messaging.system"
OPERATION_NAME: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
DESTINATION: Final = "messaging.destination.name"
PARTITION: Final = "messaging.destination.partition.id"
GROUP: Final = "messaging.consumer.group.name"
CLIENT_ID: Final = "messaging.client.id"
BATCH_COUNT: Final = "messaging.batch.message_count"
OFFSET: Final = "messaging.kafka.offset"
KEY: Final = "messaging.kafka.message.key"
ERROR_TYPE: Final = "error.type"
DB_SYSTEM: Final = "db.system.name"
DB_OPERATION: Final = "db.operation.name"
HTTP_METHOD: Final = "http.request.method"
HTTP_ROUTE: Final = "http.route"
HTTP_STATUS: Final = "http.response.status_code"
URL_PATH: Final = "url.path"

STREAM: Final = "nerv.stream"
VERSION: Final = "nerv.version"
PLACES: Final = "nerv.places"  # of several records: `topic[partition]@first-last`
STREAMS: Final = "nerv.streams"  # of several events: `stream@first-last`
LEFT_OUT: Final = "nerv.batch.left_out"  # messages of a batch in whose traces the work on it is not seen
SYNC_CHANGES: Final = "nerv.sync.changes"
PROJECTION: Final = "nerv.projection"
REACTION: Final = "nerv.reaction"
SYNC: Final = "nerv.sync"
SYNC_KIND: Final = "nerv.sync.kind"
WORKFLOW: Final = "nerv.workflow"
RUN: Final = "nerv.run"
TASK: Final = "nerv.task"
ATTEMPT: Final = "nerv.attempt"

SPANS_KEPT: Final = "nerv.spans.kept"
SPANS_DROPPED: Final = "nerv.spans.dropped"

KAFKA: Final = "kafka"
REDIS: Final = "redis"

# Metrics. `telemetry.declared` says of each what it is, who has it and by what it is divided.
REQUEST_DURATION: Final = "http.server.request.duration"
OPERATION_DURATION: Final = "messaging.client.operation.duration"
SENT_MESSAGES: Final = "messaging.client.sent.messages"
CONSUMED_MESSAGES: Final = "messaging.client.consumed.messages"
PROCESS_DURATION: Final = "messaging.process.duration"

GROUP_LAG: Final = "kafka_consumergroup_lag"  # as kafka_exporter and KEDA name it, with these attributes
LAG_GROUP: Final = "consumergroup"
LAG_TOPIC: Final = "topic"
LAG_PARTITION: Final = "partition"
GROUP_DELAY: Final = "nerv.group.delay"

SERVICE_READY: Final = "nerv.service.ready"
CHECK_FAILED: Final = "nerv.check.failed"
CHECK: Final = "nerv.check"

APPEND_DURATION: Final = "nerv.append.duration"
COMMIT_RECORDS: Final = "nerv.commit.records"
PARTITIONS_SERVED: Final = "nerv.partitions.served"
OWNERSHIP_CHANGES: Final = "nerv.ownership.changes"
CHANGE: Final = "nerv.change"

DEADLETTERS: Final = "nerv.deadletters"
BY: Final = "nerv.by"
REDIS_FAILURES: Final = "nerv.redis.failures"

QUEUE_DEPTH: Final = "nerv.queue.depth"
QUEUE_LAG: Final = "nerv.queue.lag"
POOL_BUSY: Final = "nerv.pool.busy"
POOL_SIZE: Final = "nerv.pool.size"
WORK_DURATION: Final = "nerv.work.duration"
WORK_KIND: Final = "nerv.work.kind"
WORK_COUNT: Final = "nerv.work.count"
QUEUE: Final = "nerv.queue"
STATE: Final = "nerv.state"
POOL: Final = "nerv.pool"
WHAT: Final = "nerv.what"

PROJECTION_DELAY: Final = "nerv.projection.delay"
PROJECTION_POSITION: Final = "nerv.projection.position"
PROJECTION_RATE: Final = "nerv.projection.rate"
PROJECTION_FAILURES: Final = "nerv.projection.failures"
PROJECTION_ENTITIES: Final = "nerv.projection.entities"
PROJECTION_PARKED: Final = "nerv.projection.parked"
PROJECTION_SIZE: Final = "nerv.projection.size"
PROJECTION_REBUILDING: Final = "nerv.projection.rebuilding"

CALL_TARGET: Final = "nerv.call.target"
CALL_DURATION: Final = "nerv.call.duration"

SYNC_OBJECTS: Final = "nerv.sync.objects"
SYNC_DURATION: Final = "nerv.sync.duration"
SYNC_RUNS: Final = "nerv.sync.runs"
STATUS: Final = "nerv.status"
SYNC_PART: Final = "nerv.sync.part"
SYNC_ACTION: Final = "nerv.sync.action"
SYNC_OUTCOME: Final = "nerv.sync.outcome"

SYNC_RUN: Final = "sync run"
WRITE_VIEWS: Final = "write views"


def send(what: str) -> str:
    """The name of a span: records go to a topic, or a run to its queue."""
    return f"send {what}"


def process(what: str) -> str:
    """The name of a span: records of a topic, or a task, are worked on."""
    return f"process {what}"


def commit(topic: str) -> str:
    """The name of a span: a transaction is written to a topic."""
    return f"commit {topic}"


def sync(part: str) -> str:
    """The name of a span: a part of a sync's run."""
    return f"sync {part}"


def call(target: str) -> str:
    """The name of a span: a call that an aspect is woven around."""
    return f"call {target}"


def http(method: str, where: str) -> str:
    """The name of a span: a request to a route, or to a service."""
    return f"{method} {where}"


def redis(operation: str) -> str:
    """The name of a span: a command of Redis."""
    return operation
