# SPDX-License-Identifier: Apache-2.0
"""`nerv.Client`: the mesh from asyncio, by what the HTTP paths are called."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from nerv.client.commands import Commands
from nerv.client.deadletters import DeadLetters
from nerv.client.projections import Projections
from nerv.client.schedules import Schedules
from nerv.client.schemas import Schemas
from nerv.client.states import States
from nerv.client.streams import Streams
from nerv.client.subscriptions import Subscriptions
from nerv.client.syncs import Syncs
from nerv.client.topics import Topics
from nerv.client.traces import Traces
from nerv.client.transport import Token, Transport
from nerv.client.views import Views
from nerv.client.workflows import Workflows
from nerv.errors import Forbidden, Misconfigured, NervError, Unauthenticated, Unavailable
from nerv.kafka import KafkaSettings
from nerv.types import Description

CONTEXT = Path(".nerv") / "context.json"
MESH_SECONDS = 5.0  # for any service to say who is alive
LEAST_SECONDS = 1.0
SERVICES = ("broker", "temporal", "projector", "sync", "scheduler")


class Client:
    """All five services behind one object. Use as `async with`.

    `urls` maps services to base URLs; one URL under `*` serves all (an ingress that routes by path). Without `urls` the
    environment decides: NERV_URL, NERV_SERVICES__*, or what `nerv dev` wrote in this folder.
    """

    def __init__(self, urls: Mapping[str, str] | None = None, *, token: Token = None) -> None:
        self.transport = Transport(_expand(urls) if urls is not None else find_urls(), token)
        self.topics = Topics(self.transport)
        self.subscriptions = Subscriptions(self.transport)
        self.deadletters = DeadLetters(self.transport)
        self.schemas = Schemas(self.transport)
        self.streams = Streams(self.transport)
        self.views = Views(self.transport)
        self.projections = Projections(self.transport)
        self.syncs = Syncs(self.transport)
        self.workflows = Workflows(self.transport)
        self.schedules = Schedules(self.transport)
        self.traces = Traces(self.transport)

    async def __aenter__(self) -> Self:
        await self.transport.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.transport.close()

    def commands(self, kafka: KafkaSettings, mesh: str = "nerv") -> Commands:
        """Appends over Kafka instead of HTTP; reads of this client see them. Use it as `async with`."""
        return Commands(kafka, mesh, self.streams.positions)

    async def components(self, service: str) -> dict[str, Any]:
        """What the components of a service say of themselves now: a `Description` as JSON, of the replica that answers."""
        answer = await self.transport.request(service, "GET", "/.well-known/nerv/components", seconds=5.0)
        document: dict[str, Any] = answer.json()
        return document

    def describe(self) -> Description:
        """The client as data: where the services are, and how often they were asked."""
        return self.transport.describe()

    def states(self, projection: str, category: str | None = None) -> States:
        """The states that a projection of the app folds of the streams of a category, by default of its own name."""
        return States(self.streams, projection, category or projection)

    async def about(self, service: str) -> dict[str, Any]:
        """What a service says of itself (`/.well-known/nerv`)."""
        answer = await self.transport.request(service, "GET", "/.well-known/nerv", seconds=5.0)
        document: dict[str, Any] = answer.json()
        return document

    async def mesh(self) -> list[dict[str, Any]]:
        """Every replica that is alive, of every service, as it said of itself a few seconds ago at most.

        Raises what the last service said, when none answers.
        """
        replicas: list[dict[str, Any]] = (await self._any("/v1/mesh"))["replicas"]
        return replicas

    async def topology(self) -> dict[str, Any]:
        """Where events go in the mesh, as declared and as seen: each of `ways` as `nerv.topology.Way.to_dict` has it."""
        return await self._any("/v1/mesh/topology")

    async def _any(self, path: str) -> dict[str, Any]:
        """What all services answer alike: the first that does is as good as any other."""
        failed: NervError = Unavailable("no service of this mesh is known")
        deadline = time.monotonic() + MESH_SECONDS
        for service in self.transport.services:
            if (left := deadline - time.monotonic()) < LEAST_SECONDS:
                break  # what another would say it would say too late
            try:
                answer = await self.transport.attempt(service, "GET", path, None, None, None, left)
            except (Unauthenticated, Forbidden):
                raise
            except NervError as error:
                failed = error
            else:
                document: dict[str, Any] = answer.json()
                return document
        raise failed

    async def openapi(self, service: str) -> dict[str, Any]:
        """The OpenAPI document of a service."""
        answer = await self.transport.request(service, "GET", "/openapi.json", seconds=5.0)
        document: dict[str, Any] = answer.json()
        return document


def _expand(urls: Mapping[str, str]) -> dict[str, str]:
    return dict.fromkeys(SERVICES, urls["*"]) if "*" in urls else dict(urls)


def find_urls(context: Path = CONTEXT) -> dict[str, str]:
    """Where the services are: NERV_URL, else NERV_SERVICES__*, else the context file of `nerv dev`.

    Raises Misconfigured.
    """
    if url := os.environ.get("NERV_URL"):
        return _expand({"*": url})
    named = {s: os.environ[v] for s in SERVICES if (v := f"NERV_SERVICES__{s.upper()}") in os.environ}
    if named:
        return named
    try:
        document = orjson.loads(context.read_bytes())
    except FileNotFoundError:
        raise Misconfigured(
            "no mesh is running here: start one with `nerv dev`, or set NERV_URL to the URL of one"
        ) from None
    return {service: entry["url"] for service, entry in document["services"].items()}
