# SPDX-License-Identifier: Apache-2.0
"""Which topics there are. Known ones are remembered; one that is not known is looked for by its name, one at a time."""

import asyncio
import time
from contextlib import suppress
from typing import Protocol

from nerv.app import App
from nerv.errors import Forbidden, NotFound
from nerv.kafka.admin import Admin
from nerv.types import check_id
from nerv_broker.settings import BrokerSettings

FRESH_SECONDS = 1.0
SHOWN = 20  # names in an error


class Catalog:
    """The topics users may publish to and read: all of Kafka but those of meshes and of Kafka itself."""

    def __init__(self, admin: Admin, app: App, mesh: str) -> None:
        self._admin = admin
        self._app = app
        self._mesh = mesh
        self._known: dict[str, int] = {}
        self._asked = float("-inf")
        self._asking = asyncio.Lock()

    async def topics(self) -> dict[str, int]:
        """The number of partitions of each topic. Raises Unavailable."""
        async with self._asking:
            if time.monotonic() - self._asked >= FRESH_SECONDS:
                found = await asyncio.to_thread(self._admin.topics)
                self._known = {name: count for name, count in found.items() if not self._internal(name)}
                self._asked = time.monotonic()
        return self._known

    def forget(self) -> None:
        """Ask again when somebody asks next: there is another one."""
        self._asked = float("-inf")

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has now: more than before, maybe. Raises NotFound, naming what there is, or Unavailable."""
        with suppress(NotFound):
            if topic in self._known:
                return await self._count(topic)
            async with self._asking:  # names that are not there, however many, put one question at a time to Kafka
                return await self._count(topic)
        self._known.pop(topic, None)
        known = await self.topics()
        names = sorted(self._app.all_topics().keys() & known.keys()) or sorted(known)
        raise NotFound(f"there is no topic {topic[:256]}; there are: {', '.join(names[:SHOWN]) or 'none'}")

    async def check(self, topic: str) -> None:
        """That there is such a topic, which is remembered. Raises as `partitions`."""
        if topic not in self._known:
            await self.partitions(topic)

    async def public(self, name: str) -> str:
        """The name of a topic that users may publish to and read. Raises Invalid, Forbidden for the mesh's own, NotFound."""
        check_topic(name, self._mesh)
        await self.check(name)
        return name

    async def _count(self, topic: str) -> int:
        self._known[topic] = (await asyncio.to_thread(self._admin.state_of, topic)).partitions
        return self._known[topic]

    def _internal(self, name: str) -> bool:
        return name.startswith(("__", f"{self._mesh}."))


class HasCatalog(Protocol):
    """What all handlers of topics work with; each room asks for more."""

    @property
    def settings(self) -> BrokerSettings:
        """Of the service."""
        ...

    @property
    def app(self) -> App:
        """Which declares topics of its own."""
        ...

    @property
    def catalog(self) -> Catalog:
        """Which topics there are."""
        ...


def check_topic(name: str, mesh: str) -> str:
    """A name that may be a user's topic. Raises Forbidden for the mesh's own, NotFound for Kafka's, Invalid or TooLarge."""
    check_id(name, "topic")
    if name.startswith(f"{mesh}."):
        raise Forbidden(f"{name} belongs to the mesh itself; append to streams by /v1/streams, read views by /v1/views")
    if name.startswith("__"):
        raise NotFound(f"there is no topic {name}")
    return name
