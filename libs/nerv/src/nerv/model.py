# SPDX-License-Identifier: Apache-2.0
"""The base class of an app's events: what happened, as a pydantic model, and what pydantic refuses, as errors tell it."""

from typing import TYPE_CHECKING, Any, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError

from nerv.types import Event

if TYPE_CHECKING:
    from nerv.api.event.v1 import event_pb2
    from nerv.cloudevents import Incoming

Envelope: TypeAlias = "Event[Any] | event_pb2.Event | Incoming"
"""An event, or its message or its record, which become one when somebody asks."""

_ENVELOPE = "_envelope"


class EventModel(BaseModel):
    """An event of an app (`nerv.Event`): its data, frozen. Unknown fields are ignored, so that writers may add some."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def received(self, envelope: Envelope) -> Self:
        """This event, which came in an envelope: it becomes an event, if it is none, when somebody asks for `meta`.

        It is kept where pydantic keeps private attributes, so that copies have it, but is declared as none: to prepare one
        for each model takes a third of what reading the model takes.
        """
        private = self.__pydantic_private__
        if private is None:
            object.__setattr__(self, "__pydantic_private__", {_ENVELOPE: envelope})
        else:
            private[_ENVELOPE] = envelope
        return self

    def __eq__(self, other: object) -> bool:
        """Same type, same data: a received event equals the one that was made in code."""
        if type(other) is not type(self):
            return NotImplemented
        return self.__dict__ == other.__dict__

    @property
    def meta(self) -> Event[Any]:
        """Id, source, times, stream and version of the event this was decoded from.

        Raises ValueError on an event that was made in code and has not been recorded yet.
        """
        envelope = (self.__pydantic_private__ or {}).get(_ENVELOPE)
        if envelope is None:
            raise ValueError(f"this {type(self).__name__} was made in code; only received events have an envelope")
        if not isinstance(envelope, Event):
            envelope = event_of(envelope)
            self.received(envelope)
        return envelope

    def came_as(self, event: Event[Any]) -> bool:
        """Whether this is that very event, as it was received."""
        return (self.__pydantic_private__ or {}).get(_ENVELOPE) is event


def event_of(envelope: Envelope) -> Event[Any]:
    """The event of an envelope. Raises Invalid for a record whose envelope is wrong."""
    if isinstance(envelope, Event):
        return envelope
    from nerv.cloudevents import (  # whoever has a message has loaded protobuf; `import nerv` does without
        Incoming,
        from_proto,
    )

    return envelope.event() if isinstance(envelope, Incoming) else from_proto(envelope)


def faults_of(error: ValidationError) -> list[dict[str, str]]:
    """What pydantic refused, as errors of NERV tell it: path and detail of each fault, without the values."""
    return [
        {"path": "/" + "/".join(str(part) for part in fault["loc"]), "detail": fault["msg"]}
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    ]
