# SPDX-License-Identifier: Apache-2.0
"""The topics of a mesh, read from `topics.yaml`, and those an app declares. Plain data: `nerv.kafka.admin` makes them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Final

import yaml

from nerv.errors import Misconfigured

CHANGES: Final = "changes:"  # and a projection: how an app names the topic of its deltas
DEFAULT_PARTITIONS = 4  # of keyed topics in `nerv dev`: more partitions mean smaller commit batches


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as it must exist in Kafka."""

    name: str
    partitions: int
    holds: str = ""
    config: Mapping[str, str] = field(default_factory=dict)


@cache
def _document() -> dict[str, Any]:
    text = files("nerv").joinpath("topics.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return document


@cache
def _listed() -> dict[str, None]:
    """The names, in order; services ask for some with each request."""
    return {entry["name"]: None for part in ("topics", "per_projection") for entry in _document()[part]}


def name(mesh: str, topic: str, *, projection: str = "") -> str:
    """The full name of one of the mesh's own topics: `name("nerv", "history.v1")`.

    Raises Misconfigured for a topic that is not in the list.
    """
    template = "{mesh}." + topic
    if template not in _listed():
        raise Misconfigured(f"{template} is not in topics.yaml; it has {', '.join(_listed())}")
    return template.format(mesh=mesh, projection=projection)


def full(mesh: str, topic: str) -> str:
    """The name in Kafka of a topic as an app names it: `changes:<projection>`, or any other, which is its own."""
    projection = topic.removeprefix(CHANGES)
    return topic if projection == topic else name(mesh, "changes.{projection}.v1", projection=projection)


def projection_of(mesh: str, topic: str) -> str | None:
    """The projection of whose deltas a topic in Kafka is; None of another one."""
    before, _, after = name(mesh, "changes.{projection}.v1", projection="\0").partition("\0")
    found = topic.removeprefix(before).removesuffix(after)
    return found if found and topic == before + found + after else None


def of_mesh(mesh: str, *, partitions: int = DEFAULT_PARTITIONS, projections: Iterable[str] = ()) -> tuple[Topic, ...]:
    """Every topic of the mesh itself; `partitions` is the count of keyed topics."""
    document = _document()
    found = [_topic(entry, mesh, "", partitions) for entry in document["topics"]]
    for projection in projections:
        found += [_topic(entry, mesh, projection, partitions) for entry in document["per_projection"]]
    return tuple(found)


def _topic(entry: Mapping[str, Any], mesh: str, projection: str, keyed: int) -> Topic:
    count = keyed if entry["partitions"] == "keyed" else int(entry["partitions"])
    return Topic(entry["name"].format(mesh=mesh, projection=projection), count, entry["holds"], dict(entry["config"]))
