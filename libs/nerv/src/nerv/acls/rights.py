# SPDX-License-Identifier: Apache-2.0
"""The list as data: each right of each service, with the names of a mesh and its app in it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, cast

import yaml

from nerv.acls.naming import Names

SERVICES = ("temporal", "broker", "projector", "sync", "scheduler")
Resource = Literal["topic", "group", "transactional_id"]
RESOURCES: tuple[Resource, ...] = ("topic", "group", "transactional_id")


@dataclass(frozen=True, slots=True)
class KafkaRight:
    """What a user may do with a topic, a group or a transactional id, or (`prefixed`) with all whose names begin so.

    `operations` as Kafka writes them, in small letters. A `rare` right is not needed by every app, or seldom.
    """

    user: str
    resource: Resource
    name: str
    prefixed: bool
    operations: tuple[str, ...]
    why: str
    rare: bool = False


@dataclass(frozen=True, slots=True)
class RedisRight:
    """What a user may do: commands (with a subcommand after |) on keys that match one of these patterns; some are only read."""

    user: str
    keys: tuple[str, ...]
    reads: tuple[str, ...]
    commands: tuple[str, ...]


@cache
def _document() -> dict[str, Any]:
    text = files("nerv.acls").joinpath("acls.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def user_of(mesh: str, service: str) -> str:
    """The name of a service's user, in Kafka and in Redis: `nerv-temporal`."""
    return f"{mesh}-{service}"


def kafka_rights(names: Names) -> list[KafkaRight]:
    """Of all services; of `setup`, the job that makes topics; of `commands`, programs that append over Kafka."""
    return [
        right
        for service, rows in _document()["kafka"].items()
        for row in rows
        for right in _kafka(user_of(names.mesh, service), row, names)
    ]


def _kafka(user: str, row: Mapping[str, Any], names: Names) -> list[KafkaRight]:
    [resource] = [one for one in RESOURCES if one in row]
    return [
        KafkaRight(
            user,
            resource,
            name.removesuffix("*"),
            name.endswith("*"),
            tuple(row["may"]),
            row["why"],
            row.get("rare", False),
        )
        for name in names.expand(row[resource])
    ]


def redis_rights(names: Names) -> list[RedisRight]:
    """Of all services."""
    document = cast("dict[str, Mapping[str, Any]]", _document()["redis"])
    every = document["every"]
    return [_redis(service, (document[service], every), names) for service in SERVICES]


def _redis(service: str, parts: Sequence[Mapping[str, Any]], names: Names) -> RedisRight:
    def patterns(what: str) -> tuple[str, ...]:
        wanted = [pattern.replace("{service}", service) for part in parts for pattern in part.get(what, ())]
        return tuple(found for pattern in wanted for found in names.expand(pattern))

    commands = sorted({command for part in parts for command in part.get("commands", "").split()})
    return RedisRight(user_of(names.mesh, service), patterns("keys"), patterns("reads"), tuple(commands))
