# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document of each service: whole, valid, and what the door holds to."""

import importlib
import inspect
import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from nerv.service import Route
from nerv.service.openapi import openapi

SERVICES = ("broker", "temporal", "projector", "sync", "scheduler")


def routes(service: str) -> tuple[Route, ...]:
    """The table of a service."""
    found: tuple[Route, ...] = importlib.import_module(f"nerv_{service}.handlers").ROUTES
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_the_document_is_valid(service: str) -> None:
    """By the specification's own schema; each schema in it is one."""
    document = openapi(service, routes(service))
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation["parameters"]:
                Draft202012Validator.check_schema(parameter["schema"])


@pytest.mark.parametrize("service", SERVICES)
def test_every_pointer_leads_somewhere(service: str) -> None:
    """Of the document; what a model defines beside itself is not at its top."""
    document = openapi(service, routes(service))
    for pointer in re.findall(r'"\$ref":"#/([^"]+)"', json.dumps(document, separators=(",", ":"))):
        found: Any = document
        for step in pointer.split("/"):
            found = found[step]


@pytest.mark.parametrize("service", SERVICES)
def test_every_route_is_told_in_words(service: str) -> None:
    """The first line of a handler names its method and path and says what it does; every word has its meaning."""
    for route in routes(service):
        first = (inspect.getdoc(route.handler) or "").partition("\n")[0]
        path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)
        assert first.startswith(f"{route.method} {path}: "), first
        assert all(param.help.endswith(".") for param in route.takes)
        names = [param.name for param in route.takes]
        assert len(names) == len(set(names)), names


@pytest.mark.parametrize("service", SERVICES)
def test_no_two_operations_have_one_name(service: str) -> None:
    """Client generators make functions of them."""
    document: dict[str, Any] = openapi(service, routes(service))
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))
