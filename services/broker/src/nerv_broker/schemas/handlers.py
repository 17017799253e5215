# SPDX-License-Identifier: Apache-2.0
"""Schemas over HTTP."""

from typing import Any, Protocol

import orjson
from starlette.responses import Response

from nerv.errors import Invalid, NotFound
from nerv.schemas import Format, Version, schema_of
from nerv.service import JSON, Request, Route, respond
from nerv.service.params import Body, choice, flag
from nerv.types import check_id, format_instant
from nerv_broker.schemas.registry import Registry

FORMAT = choice("format", Format.JSON, "JSON Schema, or the descriptors of a protobuf message as JSON.")
DRY_RUN = flag("dry_run", "Only check it.")


class HasSchemas(Protocol):
    """What these handlers work with."""

    @property
    def schemas(self) -> Registry:
        """The registry."""
        ...


async def subjects(request: Request[HasSchemas]) -> Response:
    """GET /v1/schemas: every subject that the caller may read, its format, and the version and id that are its latest."""
    found, may = sorted(request.deps.schemas.subjects.items()), request.principal.may
    return respond({"subjects": [_short(versions[-1]) for name, versions in found if may("schemas:read", name)]})


async def subject(request: Request[HasSchemas]) -> Response:
    """GET /v1/schemas/{subject}: all versions of one subject, the schemas themselves left out."""
    return respond({"versions": [_short(version) for version in _versions(request)]})


async def version(request: Request[HasSchemas]) -> Response:
    """GET /v1/schemas/{subject}/{version}: one schema, by its number or as `latest`."""
    versions = _versions(request)
    wanted = request.path("version")
    if wanted == "latest":
        return _answer(versions[-1])
    if not (wanted.isascii() and wanted.isdigit() and len(wanted) < 10):
        raise Invalid(f"a version is a number from 1, or latest, not {wanted[:40]!r}")
    if not 1 <= int(wanted) <= len(versions):
        raise NotFound(f"{versions[-1].schema.subject} has versions 1 to {len(versions)}")
    return _answer(versions[int(wanted) - 1])


async def register(request: Request[HasSchemas]) -> Response:
    """POST /v1/schemas/{subject}: register the schema that is the body, or only check it."""
    schema = schema_of(_subject(request), request.get(FORMAT), request.body)
    registry = request.deps.schemas
    if request.get(DRY_RUN):
        number, known = registry.check(schema)
        return respond(
            {"subject": schema.subject, "version": number, "id": schema.id, "registered": known, "dry_run": True}
        )
    [(made, new)] = await registry.register([schema], request.principal.subject)
    return respond(_short(made), 201 if new else 200, {"etag": f'"{schema.id}"'})


def _subject(request: Request[HasSchemas]) -> str:
    name = check_id(request.path("subject"), "subject")
    if name.startswith(":"):
        raise Invalid("a subject does not begin with a colon")
    return name


def _versions(request: Request[HasSchemas]) -> tuple[Version, ...]:
    name = _subject(request)
    versions = request.deps.schemas.subjects.get(name)
    if not versions:
        raise NotFound(f"no schema is registered under {name}; GET /v1/schemas lists the subjects")
    return versions


def _short(one: Version) -> dict[str, Any]:
    return {
        "subject": one.schema.subject,
        "version": one.number,
        "id": one.schema.id,
        "format": one.schema.format,
        "registered_time": format_instant(one.time),
        "registered_by": one.by,
    }


def _answer(one: Version) -> Response:
    document = _short(one) | {"schema": orjson.Fragment(one.schema.text)}
    return respond(document, headers={"etag": f'"{one.schema.id}"'})


ROUTES = (
    Route("GET", "/v1/schemas", subjects, "schemas:read", each=True),
    Route("GET", "/v1/schemas/{subject}", subject, "schemas:read", of="subject"),
    Route(
        "POST",
        "/v1/schemas/{subject}",
        register,
        "schemas:write",
        (FORMAT, DRY_RUN),
        Body({JSON: {"type": "object"}}, "The schema."),
        statuses=(200, 201),
        of="subject",
    ),
    Route("GET", "/v1/schemas/{subject}/{version}", version, "schemas:read", of="subject"),
)
