# SPDX-License-Identifier: Apache-2.0
"""The base class of an app's events: what happened, as a pydantic model, and what pydantic refuses, as errors tell it."""

from typing import Any

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError

from nerv.types import Event


class EventModel(BaseModel):
    """An event of an app (`nerv.Event`): its data, frozen. Unknown fields are ignored, so that writers may add some."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    _meta: Event[Any] | None = PrivateAttr(default=None)

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
        if self._meta is None:
            raise ValueError(f"this {type(self).__name__} was made in code; only received events have an envelope")
        return self._meta


def faults_of(error: ValidationError) -> list[dict[str, str]]:
    """What pydantic refused, as errors of NERV tell it: path and detail of each fault, without the values."""
    return [
        {"path": "/" + "/".join(str(part) for part in fault["loc"]), "detail": fault["msg"]}
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    ]
