# SPDX-License-Identifier: Apache-2.0
"""Every attribute, span and metric name of the mesh (OpenTelemetry semantic conventions for messaging and databases)."""

from typing import Final

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
PROJECTION: Final = "nerv.projection"
REACTION: Final = "nerv.reaction"
SYNC: Final = "nerv.sync"
SYNC_KIND: Final = "nerv.sync.kind"
WORKFLOW: Final = "nerv.workflow"
RUN: Final = "nerv.run"
TASK: Final = "nerv.task"
ATTEMPT: Final = "nerv.attempt"

KAFKA: Final = "kafka"
REDIS: Final = "redis"

GROUP_LAG: Final = "kafka_consumergroup_lag"  # as kafka_exporter and KEDA name it, with these attributes
LAG_GROUP: Final = "consumergroup"
LAG_TOPIC: Final = "topic"
LAG_PARTITION: Final = "partition"

QUEUE_DEPTH: Final = "nerv.queue.depth"
QUEUE_LAG: Final = "nerv.queue.lag"
POOL_BUSY: Final = "nerv.pool.busy"
POOL_SIZE: Final = "nerv.pool.size"
WORK_COUNT: Final = "nerv.work.count"
QUEUE: Final = "nerv.queue"
STATE: Final = "nerv.state"
POOL: Final = "nerv.pool"
WHAT: Final = "nerv.what"

CALL_TARGET: Final = "nerv.call.target"
CALL_DURATION: Final = "nerv.call.duration"

SYNC_OBJECTS: Final = "nerv.sync.objects"
SYNC_DURATION: Final = "nerv.sync.duration"
