# SPDX-License-Identifier: Apache-2.0
"""A perspective is a pydantic model over a state: its fields are what this kind of reader sees."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Perspective(BaseModel):
    """A view of a projection's state. Declare the fields to show; compute others with `@pydantic.computed_field`.

    The model is built once, by pydantic; fields that are not declared are not copied.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", from_attributes=True)

    @classmethod
    def view(cls, state: Any) -> Self:
        """This perspective of `state` (a mapping, or an object with attributes). Raises pydantic's ValidationError."""
        return cls.model_validate(state)
