# SPDX-License-Identifier: Apache-2.0
"""What the body of a request says: a JSON object, and numbers in it."""

from collections.abc import Mapping
from typing import Any

from nerv.cloudevents.json_format import parse_json
from nerv.errors import Invalid
from nerv.limits import check_json_depth
from nerv.service import Request


def document_of(request: Request[Any]) -> Mapping[str, Any]:
    """The JSON object that is the body. Raises Invalid or TooLarge."""
    check_json_depth(request.body, request.deps.settings.limits.json_depth)
    document = parse_json(request.body)
    if not isinstance(document, dict):
        raise Invalid("the body must be a JSON object")
    return document


def amount(document: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    """A number of it within bounds. Raises Invalid."""
    found = document.get(name, default)
    if isinstance(found, bool) or not isinstance(found, int | float) or not low <= found <= high:
        raise Invalid(f"{name} must be a number from {low:g} to {high:g}")
    return found
