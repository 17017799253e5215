# SPDX-License-Identifier: Apache-2.0
"""The kinds of effect."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nerv.model import EventModel
from nerv.types import EffectType, check_id


@dataclass(frozen=True, slots=True)
class Append:
    """Append an event to a stream of history, at whatever version it is."""

    stream: str
    event: EventModel
    kind: EffectType = field(default=EffectType.APPEND, init=False)

    @property
    def target(self) -> str:
        """The stream."""
        return self.stream


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish an event to its topic, or to `topic`; `key` overrides the declared key."""

    event: EventModel
    topic: str | None = None
    key: str | None = None
    kind: EffectType = field(default=EffectType.PUBLISH, init=False)

    @property
    def target(self) -> str:
        """The topic, or the model's name where the app knows the topic."""
        return self.topic or type(self.event).__name__


@dataclass(frozen=True, slots=True)
class Run:
    """Start a run of a workflow; the effect's id becomes the run's id."""

    workflow: str
    arguments: Mapping[str, Any]
    kind: EffectType = field(default=EffectType.RUN, init=False)

    @property
    def target(self) -> str:
        """The workflow."""
        return self.workflow


@dataclass(frozen=True, slots=True)
class Http:
    """Call an outside system, at least once; the effect's id goes along as `Idempotency-Key`."""

    method: str
    url: str
    body: Any = None
    kind: EffectType = field(default=EffectType.HTTP, init=False)

    @property
    def target(self) -> str:
        """Method and URL."""
        return f"{self.method} {self.url}"


Effect = Append | Publish | Run | Http


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
