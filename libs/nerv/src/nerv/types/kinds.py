# SPDX-License-Identifier: Apache-2.0
"""The mesh's own kinds. What users name stays a string."""

from enum import StrEnum


class EventType(StrEnum):
    """Types of the events that the mesh itself records."""

    SUBSCRIBER_FAILED = "nerv.bus.subscriber-failed.v1"
    STATE_CHANGED = "nerv.state.changed.v1"
    FENCE = "nerv.history.fence.v1"
    CLOSING = "nerv.history.closing.v1"
    ANSWERED = "nerv.history.answered.v1"
    STREAM_DELETED = "nerv.stream.deleted.v1"
    STREAM_REOPENED = "nerv.stream.reopened.v1"
    STREAM_TOMBSTONED = "nerv.stream.tombstoned.v1"
    RUN_SUBMITTED = "nerv.run.submitted.v1"
    TASK_COMPLETED = "nerv.task.completed.v1"
    QUANTUM_COMPLETED = "nerv.quantum.completed.v1"
    TASK_FAILED = "nerv.task.failed.v1"
    EFFECTS_PERFORMED = "nerv.task.effects-performed.v1"
    EFFECTS_DONE = "nerv.task.effects-done.v1"
    RUNS_OPEN = "nerv.runs.open.v1"
    RUN_COMPLETED = "nerv.run.completed.v1"
    RUN_FAILED = "nerv.run.failed.v1"
    RUN_CANCELLED = "nerv.run.cancelled.v1"
    RUN_CANCEL_ORDERED = "nerv.run.cancel-ordered.v1"
    RUN_PAUSED = "nerv.run.paused.v1"
    RUN_RESUMED = "nerv.run.resumed.v1"
    RUN_RESTARTED = "nerv.run.restarted.v1"
    RUN_DEADLINE_PASSED = "nerv.run.deadline-passed.v1"
    MAP_EXPANDED = "nerv.map.expanded.v1"
    BRANCH_TAKEN = "nerv.branch.taken.v1"
    WAIT_OPENED = "nerv.wait.opened.v1"
    WAIT_ENDED = "nerv.wait.ended.v1"
    SIGNAL_RECEIVED = "nerv.signal.received.v1"
    EVENT_RECEIVED = "nerv.event.received.v1"
    SCHEDULE_DECLARED = "nerv.schedule.declared.v1"
    SCHEDULE_TICKED = "nerv.schedule.ticked.v1"
    SCHEDULE_RELEASED = "nerv.schedule.released.v1"
    SCHEDULE_PAUSED = "nerv.schedule.paused.v1"
    SCHEDULE_RESUMED = "nerv.schedule.resumed.v1"
    SYNC_STARTED = "nerv.sync.started.v1"
    SYNC_PLANNED = "nerv.sync.planned.v1"
    SYNC_OUTCOMES = "nerv.sync.outcomes.v1"
    SYNC_APPLIED = "nerv.sync.applied.v1"
    SYNC_FINISHED = "nerv.sync.finished.v1"
    PLAN_KEPT = "nerv.plan.kept.v1"
    PLAN_APPROVED = "nerv.plan.approved.v1"
    CONFLICT_ASKED = "nerv.conflict.asked.v1"
    CONFLICT_DECIDED = "nerv.conflict.decided.v1"
    CONFLICT_CLOSED = "nerv.conflict.closed.v1"
    UPDATE_LOST = "nerv.conflict.update-lost.v1"
    UPDATE_SPARED = "nerv.conflict.update-spared.v1"


class EffectType(StrEnum):
    """What an effect asks the mesh to do."""

    APPEND = "append"
    PUBLISH = "publish"
    RUN = "run"
    HTTP = "http"
    TASK = "task"
    TIMER = "timer"
    READ_VIEW = "read-view"
    LOG = "log"


class LifecycleState(StrEnum):
    """Where a managed resource is in its life."""

    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
