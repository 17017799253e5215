# SPDX-License-Identifier: Apache-2.0
"""The mesh's own kinds of effect, each with the type of its answer. An app makes more by subclassing `Effect`."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any, ClassVar, TypeAlias

from nerv.errors import Invalid
from nerv.model import EventModel
from nerv.protocols.history import Appended
from nerv.types import Effect, EffectType, check_id, frozen


@frozen
class Append(Effect[Appended]):
    """Append an event to a stream of history, at whatever version it is."""

    kind: ClassVar[str] = EffectType.APPEND
    stream: str
    event: EventModel

    @property
    def target(self) -> str:
        """The stream."""
        return self.stream


@frozen
class Publish(Effect[None]):
    """Publish an event to its topic, or to `topic`; `key` overrides the declared key."""

    kind: ClassVar[str] = EffectType.PUBLISH
    event: EventModel
    topic: str | None = None
    key: str | None = None

    @property
    def target(self) -> str:
        """The topic, or the model's name where the app knows the topic."""
        return self.topic or type(self.event).__name__


@frozen
class Run(Effect[str]):
    """Start a run of a workflow; the effect's id becomes the run's id, and that is the answer."""

    kind: ClassVar[str] = EffectType.RUN
    workflow: str
    arguments: Mapping[str, Any]

    @property
    def target(self) -> str:
        """The workflow."""
        return self.workflow


@frozen
class Http(Effect[Any]):
    """Call an outside system, at least once; the effect's id goes along as `Idempotency-Key`. The answer is its JSON."""

    kind: ClassVar[str] = EffectType.HTTP
    method: str
    url: str
    body: Any = None

    @property
    def target(self) -> str:
        """Method and URL."""
        return f"{self.method} {self.url}"


@frozen
class Task(Effect[Any]):
    """Call a task of the app, by its registered name; the answer is its result."""

    kind: ClassVar[str] = EffectType.TASK
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """The task."""
        return self.name


@frozen
class Timer(Effect[datetime]):
    """Wait `seconds`; the answer is the instant at which it rang, UTC."""

    kind: ClassVar[str] = EffectType.TIMER
    seconds: float


@frozen
class ReadView(Effect[Any]):
    """Read the view of one entity, in a perspective if one is named; None where there is no such entity."""

    kind: ClassVar[str] = EffectType.READ_VIEW
    projection: str
    key: str
    perspective: str | None = None

    @property
    def target(self) -> str:
        """Projection and key."""
        return f"{self.projection}/{self.key}"


@frozen
class Log(Effect[None]):
    """Write a line to the log."""

    kind: ClassVar[str] = EffectType.LOG
    event: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    level: str = "info"

    @property
    def target(self) -> str:
        """The line's event."""
        return self.event


MeshEffect: TypeAlias = Append | Publish | Run | Http
"""What reactions and tasks may answer: the services perform these."""


def append(stream: str, event: EventModel) -> Append:
    """Append `event` to `stream`. Raises Invalid for a name that no stream can have."""
    return Append(check_id(stream, "stream"), event)


def publish(event: EventModel, *, topic: str | None = None, key: str | None = None) -> Publish:
    """Publish `event` to its declared topic, or to `topic`."""
    return Publish(event, topic, key)


def run(workflow: str, **arguments: Any) -> Run:
    """Start a run of `workflow`; the arguments must be JSON-able."""
    return Run(workflow, arguments)


def http(method: str, url: str, body: Any = None) -> Http:
    """Call `url`; `body` goes as JSON."""
    return Http(method.upper(), url, body)


def task(name: str, **arguments: Any) -> Task:
    """Call the task `name` of the app; the arguments must be JSON-able."""
    return Task(name, arguments)


def timer(seconds: float) -> Timer:
    """Wait. Raises Invalid for a time that is no time."""
    if not 0 <= seconds < float("inf"):
        raise Invalid(f"a timer needs a number of seconds from 0 on, not {seconds!r}")
    return Timer(seconds)


def read_view(projection: str, key: str, perspective: str | None = None) -> ReadView:
    """Read one entity's view."""
    return ReadView(projection, key, perspective)


def log(event: str, *, level: str = "info", **fields: Any) -> Log:
    """Write a line to the log; `level` is debug, info, warning or error."""
    if level not in ("debug", "info", "warning", "error"):
        raise Invalid(f"level must be debug, info, warning or error, not {level!r}")
    return Log(event, fields, level)
