# SPDX-License-Identifier: Apache-2.0
"""A perspective is a pydantic model over a state: its fields are what this kind of reader sees."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from nerv.perspectives.declaring import checked_fields, diff_schema
from nerv.perspectives.diffing import DiffSchema


class Perspective(BaseModel):
    """A view of a projection's state. Declare the fields to show; compute others with `@pydantic.computed_field`.

    The model is built once, by pydantic; fields that are not declared are not copied.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", from_attributes=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse markers that contradict each other. Raises Misconfigured."""
        super().__pydantic_init_subclass__(**kwargs)
        checked_fields(cls)

    @classmethod
    def view(cls, state: Any) -> Self:
        """This perspective of `state` (a mapping, or an object with attributes). Raises pydantic's ValidationError."""
        return cls.model_validate(state)

    @classmethod
    def diff_schema(cls) -> DiffSchema:
        """How rows of this perspective are compared; made once. Raises Misconfigured for one without an identifier."""
        return diff_schema(cls)

    @classmethod
    def diff_row(cls, state: Any) -> dict[str, Any]:
        """A state as the row that `diff_schema` compares: JSON-able, every field that is shown."""
        return cls.view(state).model_dump(mode="json")
