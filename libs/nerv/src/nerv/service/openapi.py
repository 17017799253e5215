# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI 3.1 document of a service, from its table of routes. Pure.

https://spec.openapis.org/oas/v3.1.1.html
"""

import inspect
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from nerv.errors import (
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NervError,
    NotFound,
    Overloaded,
    SchemaMismatch,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnknownOutcome,
)
from nerv.service.params import ID, Param
from nerv.service.routes import Route

SPECIFICATION = "3.1.1"
PROBLEM = "application/problem+json"
# What every route may answer beside what was asked for. A 500 is a fault of ours, and so in no document.
ERRORS: tuple[type[NervError], ...] = (
    Invalid, Unauthenticated, Forbidden, NotFound, Conflict, Gone, TooLarge, SchemaMismatch, Overloaded, Unavailable,
    UnknownOutcome,
)  # fmt: skip
_PROBLEM = {
    "type": "object",
    "description": "Problem details (RFC 9457). `type` ends with the class of the error, `errors` says more for programs.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "errors": {"type": "array", "items": {"type": "object"}},
        "retry_after": {
            "type": "number",
            "description": "Seconds, as in Retry-After: within a stream there is no header.",
        },
    },
    "required": ["type", "title", "status", "detail"],
}


def openapi(service: str, routes: Iterable[Route]) -> dict[str, Any]:
    """The document, JSON-able."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        address, names = _address(route.path)
        paths.setdefault(address, {})[route.method.lower()] = _operation(route, names)
    return {
        "openapi": SPECIFICATION,
        "info": {"title": f"NERV {service}", "version": version("nerv-mesh"), "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": {"Problem": _PROBLEM},
            "responses": {error.__name__: _error(error) for error in ERRORS},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"bearer": []}],
    }


def _address(path: str) -> tuple[str, list[str]]:
    """A path without the converters of the router, and the names in it."""
    names = re.findall(r"\{(\w+)(?::\w+)?\}", path)
    return re.sub(r"\{(\w+):\w+\}", r"{\1}", path), names


def _operation(route: Route, names: Iterable[str]) -> dict[str, Any]:
    told = inspect.getdoc(route.handler) or ""
    # The first line of a handler is "GET /v1/things: what it does"; the document has method and path already.
    first, _, rest = told.partition("\n")
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": first.partition(": ")[2].strip() or first,
        "parameters": [_place(name) for name in names] + [_param(param) for param in route.takes],
        "responses": _responses(route),
        "x-scope": route.scope,
    }
    if rest.strip():
        operation["description"] = rest.strip()
    if route.body is not None:
        operation["requestBody"] = {
            "required": route.body.required,
            "description": route.body.help,
            "content": {kind: {"schema": _whole(schema)} for kind, schema in route.body.types.items()},
        }
    return operation


def _whole(schema: Mapping[str, Any]) -> Any:
    """A schema with what its `$defs` define in the places that point to it: such pointers lead to the top of the document, where
    nothing of it is.
    """
    defined = schema.get("$defs", {})

    def put(found: Any) -> Any:
        if isinstance(found, Mapping):
            name = str(found.get("$ref", "")).removeprefix("#/$defs/")
            rest = {key: put(value) for key, value in found.items() if key not in ("$defs", "$ref")}
            return {**put(defined[name]), **rest} if name in defined else {**found, **rest} if "$ref" in found else rest
        return [put(one) for one in found] if isinstance(found, list | tuple) else found

    return put(schema)


def _place(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": dict(ID)}


def _param(param: Param[Any]) -> dict[str, Any]:
    return {"name": param.name, "in": param.place, "description": param.help, "schema": dict(param.schema)}


def _responses(route: Route) -> dict[str, Any]:
    found: dict[str, Any] = {
        str(status): {"description": "Done.", "content": {kind: {} for kind in route.gives}}
        for status in route.statuses
    }
    for error in ERRORS:
        found[str(error.status)] = {"$ref": f"#/components/responses/{error.__name__}"}
    return dict(sorted(found.items()))


def _error(error: type[NervError]) -> Mapping[str, Any]:
    told = (inspect.getdoc(error) or error.title).partition("\n")[0]
    return {"description": told, "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
