# SPDX-License-Identifier: Apache-2.0
"""Bodies of requests, read as models."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from nerv.errors import Invalid
from nerv.limits import Limits, check_json_depth
from nerv.service import Request

M = TypeVar("M", bound=BaseModel)


def read_body(request: Request[Any], model: type[M], limits: Limits) -> M:
    """The body as a model. Raises Invalid, naming each fault, and TooLarge."""
    check_json_depth(request.body, limits.json_depth)
    try:
        return model.model_validate_json(request.body)
    except ValidationError as error:
        faults = [
            {"path": "/" + "/".join(map(str, fault["loc"])), "detail": fault["msg"]}
            for fault in error.errors(include_url=False, include_input=False)
        ]
        names = ", ".join(model.model_fields)
        raise Invalid(f"the body must be a JSON object with some of: {names}", errors=faults[:20]) from None
