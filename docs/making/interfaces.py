# SPDX-License-Identifier: Apache-2.0
"""What can be asked over HTTP and Kafka: the documents of the services and of the demo's app, and a table of all routes."""

import importlib
import inspect
import json
import re
from typing import Any

from flights import app as flights
from nerv.documents import asyncapi
from nerv.service import Route
from nerv.service.introspection import introspection
from nerv.service.openapi import openapi

NOBODY: Any = (None, None)  # who would be told of: only the table is wanted
SERVICES = ("broker", "temporal", "projector", "sync", "scheduler")


def routes(service: str) -> tuple[Route, ...]:
    """The table of a service."""
    found: tuple[Route, ...] = importlib.import_module(f"nerv_{service}.handlers").ROUTES
    return found


def openapi_file(service: str) -> str:
    """The OpenAPI document of a service."""
    return _json(openapi(service, (*routes(service), *introspection(*NOBODY))))


def asyncapi_file() -> str:
    """The AsyncAPI document of the demo's app."""
    return _json(asyncapi(flights))


def route_table() -> str:
    """A table for each service: method, path, scope, and the first sentence of what its handler says."""
    tables = {service: routes(service) for service in SERVICES} | {"every service": introspection(*NOBODY)}
    return "".join(f"\n## {name}\n{_header()}{''.join(map(_row, rows))}" for name, rows in tables.items()) + "\n"


def _header() -> str:
    return "| route | scope | does |\n| --- | --- | --- |\n"


def _row(route: Route) -> str:
    path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)
    told = " ".join((inspect.getdoc(route.handler) or "").partition("\n\n")[0].split())
    does = re.split(r"(?<=\.) ", told.partition(": ")[2])[0]
    scope = f"`{route.scope}`" if route.scope else "none"
    return f"| `{route.method} {path}` | {scope} | {does.replace('|', chr(92) + '|')} |\n"


def _json(document: object) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
