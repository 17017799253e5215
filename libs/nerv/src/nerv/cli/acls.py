# SPDX-License-Identifier: Apache-2.0
"""`nerv acls`: what each service may do in Kafka and in Redis, in the forms that those take; and to have it stand in Kafka."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from nerv.acls import Names, kafka_rights, names_of, redis_rights
from nerv.acls.forms import kafka_lines, redis_lines, strimzi_users
from nerv.acls.passwords import passwords as passwords_of
from nerv.app import find_app
from nerv.cli.calling import AsJson, console, fail, say_json
from nerv.cli.setup import AppOption
from nerv.cli.show import table
from nerv.errors import NervError
from nerv.service import ServiceSettings

acls = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Who may do what in Kafka and Redis: show it, write it, have it stand.",
)

Sides = Annotated[
    list[str] | None, typer.Option("--side", help="A compacted topic that a sync reads and writes. Repeatable.")
]
Shared = Annotated[
    list[str] | None,
    typer.Option("--shared", help="What topics begin with that no app declares: the broker has them, too. Repeatable."),
]
Principal = Annotated[str, typer.Option(help="How Kafka calls a user; by certificates maybe User:CN={user}.")]
PasswordFolder = Annotated[
    Path, typer.Option("--passwords", help="A folder with a file a user; whoever has none gets a new password.")
]


def _names(app: str | None, sides: list[str] | None, shared: list[str] | None) -> Names:
    return names_of(ServiceSettings.load().mesh, find_app(app), sides=sides or (), shared=shared or ())


@acls.command("list")
def list_(app: AppOption = None, side: Sides = None, shared: Shared = None, as_json: AsJson = False) -> None:
    """Every right of every service, and why it has it."""
    try:
        names = _names(app, side, shared)
    except NervError as error:
        raise fail(error) from None
    kafka, redis = kafka_rights(names), redis_rights(names)
    if as_json:
        say_json({"kafka": [asdict(one) for one in kafka], "redis": [asdict(one) for one in redis]})
        return
    rows: list[dict[str, Any]] = [
        {
            "user": one.user,
            "may": ", ".join(one.operations),
            "of": f"{one.resource.replace('_', ' ')} {one.name}{'*' if one.prefixed else ''}",
            "why": one.why,
        }
        for one in kafka
    ]
    console().print(table(f"Kafka of mesh {names.mesh}", rows))
    keys = [{"user": one.user, "keys": one.keys, "only reads": one.reads, "by": one.commands} for one in redis]
    console().print(table(f"Redis of mesh {names.mesh}", keys))


@acls.command("kafka")
def kafka(
    app: AppOption = None,
    side: Sides = None,
    shared: Shared = None,
    principal: Principal = "User:{user}",
    strimzi: Annotated[str | None, typer.Option(help="As KafkaUsers of Strimzi, for the Kafka of this name.")] = None,
) -> None:
    """The rights in Kafka as calls of kafka-acls.sh, or as YAML for Strimzi, on standard output."""
    try:
        rights = kafka_rights(_names(app, side, shared))
    except NervError as error:
        raise fail(error) from None
    if strimzi is None:
        for line in kafka_lines(rights, principal):
            typer.echo(line)
    else:
        typer.echo(yaml.safe_dump_all(strimzi_users(rights, strimzi), sort_keys=False), nl=False)


@acls.command("redis")
def redis(passwords: PasswordFolder, app: AppOption = None) -> None:
    """The users of Redis as a file for its `aclfile`, on standard output; with digests of the passwords, not with those."""
    try:
        rights = redis_rights(_names(app, None, None))
        known = passwords_of(passwords, [right.user for right in rights])
    except NervError as error:
        raise fail(error) from None
    for line in redis_lines(rights, known):
        typer.echo(line)


@acls.command("create")
def create(
    app: AppOption = None,
    side: Sides = None,
    shared: Shared = None,
    principal: Principal = "User:{user}",
    passwords: Annotated[
        Path | None,
        typer.Option(help="Have the users log in by SCRAM with the passwords in this folder; who has none gets one."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Have the rights stand in Kafka, straight by NERV_KAFKA__*, which must be an administrator's. It may be repeated.

    Rights that a mesh does not need any more are left there: Kafka's kafka-acls.sh lists and removes them.
    """
    from nerv.kafka.permitting import Permitting

    try:
        settings = ServiceSettings.load()
        rights = kafka_rights(_names(app, side, shared))
        users = list(dict.fromkeys(right.user for right in rights))
        permitting = Permitting(settings.kafka, "nerv-cli")
        if passwords is not None:
            permitting.set_passwords(passwords_of(passwords, users))
        made = permitting.give(rights, principal)
    except NervError as error:
        raise fail(error) from None
    if as_json:
        say_json({"users": users, "acls": made})
    else:
        console().print(f"{made} ACLs of {len(users)} users stand", markup=False)
