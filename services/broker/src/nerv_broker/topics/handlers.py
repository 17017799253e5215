# SPDX-License-Identifier: Apache-2.0
"""Topics over HTTP: list, describe, create."""

import asyncio
import re
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.responses import Response

from nerv.app import App
from nerv.app.specs import OnInvalid
from nerv.cloudevents.json_format import parse_json
from nerv.errors import Conflict, Invalid
from nerv.kafka.admin import Admin
from nerv.limits import check_json_depth
from nerv.service import JSON, Request, Route, respond
from nerv.service.params import Body, flag
from nerv.topics import Topic
from nerv_broker.catalog import HasCatalog, check_topic
from nerv_broker.topics.figures import Figures

FIGURES = flag("figures", "With records, bytes, events a second over the last minute, and the lag of each group.")
NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")  # Kafka's own rule
Value = Annotated[str, StringConstraints(max_length=1000)]


class HasTopics(HasCatalog, Protocol):
    """What these handlers work with."""

    @property
    def figures(self) -> Figures:
        """What they hold."""
        ...

    @property
    def admin(self) -> Admin:
        """Who makes them."""
        ...


class Wanted(BaseModel):
    """A topic that is to be."""

    model_config = ConfigDict(extra="forbid")

    partitions: int = Field(ge=1, le=10_000)
    replication: int = Field(
        default=-1, ge=-1, le=100, description="Replicas of each partition; -1 is Kafka's default."
    )
    config: dict[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9.]{0,100}$")], Value] = Field(
        default={}, max_length=50, description="Kafka's own names, such as retention.ms."
    )


async def topics(request: Request[HasTopics]) -> Response:
    """GET /v1/topics: the topics there are that the caller may read, and what the app says of them."""
    deps, may = request.deps, request.principal.may
    found = {name: count for name, count in (await deps.catalog.topics()).items() if may("topics:read", name)}
    rows = [_described(deps.app, name, count) for name, count in sorted(found.items())]
    if request.get(FIGURES):
        spans = await deps.figures.spans(found)
        lags, bytes_about = await asyncio.gather(deps.figures.lags(spans), deps.figures.bytes_about(spans))
        for row in rows:
            name = row["name"]
            row |= spans.of(name) | {
                "bytes_about": bytes_about.get(name),
                "lag": {group: lag for group, of in lags.items() if (lag := _sum(of, name)) is not None},
            }
    return respond({"topics": rows})


async def topic(request: Request[HasTopics]) -> Response:
    """GET /v1/topics/{topic}: one topic, with its partitions, configuration, size and the lag of each group."""
    name = await known(request)
    partitions = await request.deps.catalog.partitions(name)
    found = await request.deps.figures.described(name, partitions)
    return respond(_described(request.deps.app, name, partitions) | found)


async def create(request: Request[HasTopics]) -> Response:
    """PUT /v1/topics/{topic}: make it, or do nothing where it is there with as many partitions; 409 where with others.

    The configuration of one that is there is left as it is.
    """
    deps = request.deps
    name = check_topic(request.path("topic"), deps.settings.mesh)
    if not NAME.fullmatch(name) or name in (".", ".."):
        raise Invalid(f"a topic's name has letters, digits, '.', '_' and '-', at most 249, not {name[:60]!r}")
    wanted = _wanted(request)
    deps.catalog.forget()  # or one that was made a moment ago would not be seen
    declared = deps.app.all_topics().get(name)
    there = (await deps.catalog.topics()).get(name)
    for count in (declared.partitions if declared is not None else None, there):
        if count not in (None, wanted.partitions):
            raise Conflict(f"{name} has {count} partitions, not {wanted.partitions}, and keys would move")
    new = Topic(name, wanted.partitions, config=wanted.config)
    made = await asyncio.to_thread(deps.admin.create, [new], replication=wanted.replication)
    await asyncio.to_thread(deps.admin.wait_for, [name], 10.0)
    deps.catalog.forget()
    return respond(_described(deps.app, name, wanted.partitions), 201 if made else 200)


async def known(request: Request[Any]) -> str:
    """The topic that the path names. Raises Forbidden for the mesh's own, NotFound for one that is not there."""
    name: str = await request.deps.catalog.public(request.path("topic"))
    return name


def _wanted(request: Request[HasTopics]) -> Wanted:
    check_json_depth(request.body, request.deps.settings.limits.json_depth)
    try:
        return Wanted.model_validate(parse_json(request.body))
    except ValidationError as error:
        faults = [
            {"path": "/" + "/".join(map(str, fault["loc"])), "detail": fault["msg"]}
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise Invalid('the body must be JSON like {"partitions": 4, "config": {}}', errors=faults[:20]) from None


def _described(app: App, name: str, partitions: int) -> dict[str, Any]:
    types = {spec.type: {"key": spec.key} for spec in app.events.values() if spec.topic == name}
    reactions = sorted(reaction.name for reaction in app.reactions.values() if reaction.topic == name)
    invalid = (OnInvalid.DEADLETTER if app.keeps_invalid(name) else OnInvalid.REFUSE).value
    return {"name": name, "partitions": partitions, "types": types, "reactions": reactions, "invalid": invalid}


def _sum(lags: dict[tuple[str, int], int], topic: str) -> int | None:
    mine = [lag for (name, _), lag in lags.items() if name == topic]
    return sum(mine) if mine else None


ROUTES = (
    Route("GET", "/v1/topics/{topic}", topic, "topics:read", of="topic"),
    Route(
        "PUT",
        "/v1/topics/{topic}",
        create,
        "topics:admin",
        body=Body({JSON: Wanted.model_json_schema()}, "What it is to be."),
        statuses=(200, 201),
        of="topic",
    ),
    Route("GET", "/v1/topics", topics, "topics:read", (FIGURES,), each=True),
)
