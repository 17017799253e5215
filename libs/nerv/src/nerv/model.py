# SPDX-License-Identifier: Apache-2.0
"""The base class of an app's events: what happened, as a pydantic model, and what pydantic refuses, as errors tell it."""

from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from nerv.types import Event

if TYPE_CHECKING:
    from nerv.api.event.v1 import event_pb2

_ENVELOPE = "_envelope"


class EventModel(BaseModel):
    """An event of an app (`nerv.Event`): its data, frozen. Unknown fields are ignored, so that writers may add some."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def received(self, envelope: "Event[Any] | event_pb2.Event") -> Self:
        """This event, which came in an envelope: an event, or its message, which becomes one when somebody asks for `meta`.

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


def event_of(envelope: "Event[bytes] | event_pb2.Event") -> Event[bytes]:
    """The event of an envelope."""
    if isinstance(envelope, Event):
        return envelope
    from nerv.cloudevents import from_proto  # whoever has a message has loaded protobuf; `import nerv` does without

    return from_proto(envelope)


def faults_of(error: ValidationError) -> list[dict[str, str]]:
    """What pydantic refused, as errors of NERV tell it: path and detail of each fault, without the values."""
    return [
        {"path": "/" + "/".join(str(part) for part in fault["loc"]), "detail": fault["msg"]}
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    ]
