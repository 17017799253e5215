# SPDX-License-Identifier: Apache-2.0
"""`nerv schemas`: what events look like, and whether a change suits those that are there."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nerv.app import find_app
from nerv.cli.calling import AsJson, call, console, fail, say_json, usage
from nerv.cli.setup import AppOption
from nerv.cli.show import table
from nerv.client import Client
from nerv.errors import Conflict, Invalid, NervError
from nerv.schemas import Format, Schema, of_events, schema_of

schemas = typer.Typer(no_args_is_help=True, add_completion=False, help="Registered schemas of events and messages.")

FormatOption = Annotated[Format, typer.Option("--format", help="json (JSON Schema) or protobuf (descriptors).")]


@schemas.command("list")
def list_subjects(as_json: AsJson = False) -> None:
    """Every subject with its latest version."""
    rows = call(lambda client: client.schemas.subjects())
    columns = ("subject", "version", "format", "id")
    say_json(rows) if as_json else console().print(table("schemas", rows, columns))


@schemas.command()
def show(
    subject: Annotated[str, typer.Argument(help="An event type, or the full name of a message.")],
    version: Annotated[str, typer.Option(help="A number, or latest.")] = "latest",
    as_json: AsJson = False,
) -> None:
    """One schema, and the versions that its subject has."""

    async def work(client: Client) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        return await client.schemas.show(subject, version), await client.schemas.versions(subject)

    found, versions = call(work)
    if as_json:
        say_json(found | {"versions": len(versions)})
        return
    columns = ("version", "id", "registered_time", "registered_by")
    console().print(table(f"versions of {subject}", versions, columns))
    console().print(f"version {found['version']}:")
    console().print_json(data=found["schema"])


@schemas.command()
def check(app: AppOption = None, as_json: AsJson = False) -> None:
    """Would this app's events suit what is registered? Ends with 1 when not. Changes nothing: for use before a deploy."""
    try:
        declared = of_events(find_app(app))
    except NervError as error:
        raise fail(error) from None

    async def work(client: Client) -> list[dict[str, Any]]:
        return [await _checked(client, schema) for schema in declared]

    rows = call(work)
    if as_json:
        say_json(rows)
    else:
        console().print(table("schemas of the app", rows, ("subject", "version", "verdict")))
    if any("errors" in row for row in rows):
        for row in rows:
            for fault in row.get("errors", []):
                text = f"{row['subject']}: {fault['path']}: {fault['detail']} (version {fault['version']})"
                if not as_json:
                    console().print(text, style="red", markup=False)
        raise typer.Exit(1)


async def _checked(client: Client, schema: Schema) -> dict[str, Any]:
    try:
        answer = await client.schemas.register(schema, dry_run=True)
    except Conflict as error:
        return {"subject": schema.subject, "verdict": "incompatible", "errors": error.errors}
    verdict = "registered" if answer["registered"] else "new version"
    return {"subject": schema.subject, "version": answer["version"], "verdict": verdict}


@schemas.command()
def register(
    subject: Annotated[str, typer.Argument(help="An event type, or the full name of a message.")],
    file: Annotated[Path, typer.Argument(help="The schema, as JSON.")],
    form: FormatOption = Format.JSON,
    as_json: AsJson = False,
) -> None:
    """Register a schema. An app's own are registered when the broker starts."""
    try:
        schema = schema_of(subject, form, file.read_bytes())
    except OSError as error:
        raise usage(Invalid(f"cannot read {file}: {error.strerror}")) from None
    except NervError as error:
        raise usage(error) from None
    made = call(lambda client: client.schemas.register(schema))
    if as_json:
        say_json(made)
    else:
        console().print(f"{made['subject']} has version {made['version']}, id {made['id']}", markup=False)
