# SPDX-License-Identifier: Apache-2.0
"""A NERV app: the one object in which a team declares what the five services then host."""

from nerv.app.declare import App
from nerv.app.find import find_app
from nerv.app.specs import (
    BridgeSpec,
    Concurrency,
    DeciderSpec,
    End,
    EventSpec,
    Index,
    MiddlewareSpec,
    Overlap,
    PerspectiveSpec,
    ProjectionSpec,
    ReactionSpec,
    ScheduleSpec,
    SnapshotPolicy,
    SourceSpec,
    SyncSpec,
    TaskSpec,
    TopicSpec,
    UpcasterSpec,
    Way,
    Window,
    WorkflowSpec,
)

__all__ = [
    "App",
    "BridgeSpec",
    "Concurrency",
    "DeciderSpec",
    "End",
    "EventSpec",
    "Index",
    "MiddlewareSpec",
    "Overlap",
    "PerspectiveSpec",
    "ProjectionSpec",
    "ReactionSpec",
    "ScheduleSpec",
    "SnapshotPolicy",
    "SourceSpec",
    "SyncSpec",
    "TaskSpec",
    "TopicSpec",
    "UpcasterSpec",
    "Way",
    "Window",
    "WorkflowSpec",
    "find_app",
]
