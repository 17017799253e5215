# SPDX-License-Identifier: Apache-2.0
"""The groups that there are, each hosted by every replica: its books, its dispatcher, its side in Redis."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Self

import orjson
import structlog

from nerv.client import Client
from nerv.errors import Conflict, Invalid, NervError, NotFound, Overloaded, Unavailable
from nerv.kafka import Producer
from nerv.kafka.admin import Admin
from nerv.kafka.deadletters import count_letters
from nerv.protocols import ReadQuery
from nerv.redis import connect
from nerv.redis.connection import Redis
from nerv.subscriptions import CATEGORY, Books, Kind, stream_of
from nerv.types import Event
from nerv.types.streams import entity_of
from nerv_broker.deadletters.reading import LetterBox
from nerv_broker.groups.dispatcher import Dispatcher
from nerv_broker.groups.partition import Tools
from nerv_broker.groups.seeing import Sight
from nerv_broker.groups.shared import SharedGroup
from nerv_broker.groups.spec import GroupSpec, parse_spec
from nerv_broker.middleware import Chains
from nerv_broker.settings import BrokerSettings

log = structlog.get_logger(__name__)

FIRST_PAUSE = 0.2  # s
LONGEST_PAUSE = 5.0
HOSTED_SECONDS = 10.0  # that a request waits for a group that was made just now
WHICH = frozenset({Kind.CREATED.value, Kind.DELETED.value})


class Bell:
    """Rings when there may be something to fetch on this replica; who waits looks at Redis now and then all the same."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake all who wait."""
        rung, self._rung = self._rung, asyncio.Event()
        rung.set()

    async def wait(self, seconds: float) -> None:
        """Until it rings, or for so long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._rung.wait(), seconds)


@dataclass(slots=True)
class Hosted:
    """A group on this replica. `partitions` are those of its topic, of which some may have come since it was made."""

    name: str
    spec: GroupSpec
    partitions: int
    created: int
    books: Books
    shared: SharedGroup
    sight: Sight
    bell: Bell = field(default_factory=Bell)
    dispatcher: Dispatcher | None = None
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)


class Groups:
    """Hosts each group that the category `subscription` of history tells of. Use as `async with`."""

    def __init__(
        self,
        settings: BrokerSettings,
        client: Client,
        producer: Producer,
        chains: Chains,
        admin: Admin,
        closing: Callable[[], asyncio.Event],
        reactions: Collection[str] = (),
    ) -> None:
        """`reactions` are names whose books belong to the app's reactions: no group of such a name is hosted."""
        self._reactions = reactions
        self._settings, self._client, self._producer, self._chains = settings, client, producer, chains
        self._admin, self.closing = admin, closing
        self._open = 0
        self._hosted: dict[str, Hosted] = {}
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()
        self._redis: Redis | None = None
        self._fault: str | None = "the groups are not loaded yet"

    async def __aenter__(self) -> Self:
        if self._settings.services.temporal is None:
            self._fault = "groups keep their books in temporal: set NERV_SERVICES__TEMPORAL"
            return self
        self._redis = connect(self._settings.redis, f"broker-{self._settings.instance}-groups")
        self._task = asyncio.create_task(self._run(), name="groups")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await asyncio.gather(*(hosted.stack.aclose() for hosted in self._hosted.values()))
        if self._redis is not None:
            await self._redis.aclose()

    def all(self) -> Sequence[Hosted]:
        """The groups, by name. Raises Unavailable while they are not known."""
        if self._fault is not None:
            raise Unavailable(self._fault, retry_after=1.0)
        return [self._hosted[name] for name in sorted(self._hosted)]

    async def get(self, name: str) -> Hosted:
        """A group. Raises NotFound, or Unavailable while it is not hosted here yet."""
        self.all()
        found = self._hosted.get(name)
        if found is None:
            # One that another replica has made is heard of here a moment later: only history says that there is none.
            if name not in self._reactions and await self._is_made(name):
                raise Unavailable(f"group {name} is not hosted by this replica yet", retry_after=0.2)
            raise NotFound(f"there is no group {name}; make it with PUT /v1/subscriptions/{name}")
        return found

    async def _is_made(self, name: str) -> bool:
        with suppress(NotFound):
            async for event in self._client.streams.read(
                stream_of(name), ReadQuery(backward=True, limit=1, types=WHICH)
            ):
                return event.type == Kind.CREATED
        return False

    def find(self, name: str) -> Hosted | None:
        """The group that has this name now, if any."""
        return self._hosted.get(name)

    def books(self, name: str) -> Books:
        """The books of any subscription, to decide something in. Raises Unavailable."""
        if self._settings.services.temporal is None:
            raise Unavailable(self._fault or "")
        return Books(self._client.streams, name)

    def check_room(self) -> None:
        """Raises Overloaded when there are as many groups as a replica hosts."""
        most = self._settings.broker.groups
        if len(self.all()) >= most:
            raise Overloaded(f"there are {most} groups, the most allowed (NERV_BROKER__GROUPS)", retry_after=60.0)

    async def counted(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """An event stream, of which there are not too many."""
        most = self._settings.broker.subscribers
        if self._open >= most:
            error = Overloaded(f"{most} event streams of groups are open, the most allowed (NERV_BROKER__SUBSCRIBERS)")
            yield b"event: error\ndata: " + orjson.dumps(error.problem()) + b"\n\n"
            return
        self._open += 1
        try:
            async with aclosing(pieces):  # type: ignore[type-var]  # an async generator
                async for piece in pieces:
                    yield piece
        finally:
            self._open -= 1

    async def hosted(self, name: str, is_so: Callable[[Hosted | None], bool]) -> None:
        """Wait until a group that was made or deleted is so here, too; not for ever."""
        async with self._changed:
            with suppress(TimeoutError):
                async with asyncio.timeout(HOSTED_SECONDS):
                    await self._changed.wait_for(lambda: is_so(self._hosted.get(name)))

    def topics(self) -> dict[str, str]:
        """Of each group that is hosted here, the topic."""
        return {name: hosted.spec.topic for name, hosted in self._hosted.items()}

    def lags(self) -> dict[tuple[str, str, int], int]:
        """How far each Kafka group lags behind on each partition of its topic that this replica dispatches."""
        hosted = [(self._kafka_group(name), one.dispatcher) for name, one in list(self._hosted.items())]
        return {
            (group, *partition): lag
            for group, dispatcher in hosted
            if dispatcher is not None
            for partition, lag in dispatcher.lags().items()
        }

    def delays(self) -> dict[tuple[str, str, int], float]:
        """The age of the oldest event that is not settled, of the same partitions."""
        hosted = [(self._kafka_group(name), one.dispatcher) for name, one in list(self._hosted.items())]
        return {
            (group, *partition): seconds
            for group, dispatcher in hosted
            if dispatcher is not None
            for partition, seconds in dispatcher.delays().items()
        }

    def describe_faults(self) -> dict[str, str]:
        """The groups that do not go on here, and why."""
        if self._fault is not None:
            return {"groups": self._fault}
        found = {name: hosted.dispatcher and hosted.dispatcher.fault() for name, hosted in self._hosted.items()}
        return {name: fault for name, fault in found.items() if fault}

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                await self._follow()
            except NervError as error:
                if not self._hosted:
                    self._fault = f"the groups cannot be read: {error.detail}"
                log.warning("groups.again", error=str(error))
            except Exception:  # of ours: groups that are hosted go on, and the others are tried again
                log.exception("groups.crashed")
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _follow(self) -> None:
        """Host what there is, then what comes. What was decided while nobody listened is read again."""
        streams = self._client.streams
        end = await streams.end()
        known: dict[str, Event[bytes]] = {}
        async for event in streams.read_category(CATEGORY, ReadQuery(types=WHICH)):
            known[event.stream] = event
        for stream in {f"{CATEGORY}-{name}" for name in self._hosted} - known.keys():
            await self._stop(entity_of(stream))
        for event in known.values():
            await self._take(event)
        self._fault = None
        query = ReadQuery(types=WHICH)
        async with aclosing(streams.subscribe_category(CATEGORY, after=end, query=query)) as events:
            async for one in events:
                await self._take(one.event)

    async def _take(self, event: Event[bytes]) -> None:
        name, hosted = entity_of(event.stream), self._hosted.get(entity_of(event.stream))
        version = event.sequence or 0
        if hosted is not None and hosted.created >= version:
            return
        if hosted is not None:
            await self._stop(name)
        if event.type == Kind.CREATED and name in self._reactions:
            log.error("group.named_like_a_reaction", group=name)
        elif event.type == Kind.CREATED:
            try:
                data = orjson.loads(event.data)["spec"]
                spec, partitions, topic_id = parse_spec(data["given"]), len(data["start"]), str(data["topic_id"])
            except (Invalid, KeyError, TypeError, ValueError):
                log.exception(
                    "group.unreadable", group=name
                )  # of another release, or of somebody else: no other waits for it
            else:
                await self._start(name, spec, partitions, version, topic_id)
        async with self._changed:
            self._changed.notify_all()

    async def _start(self, name: str, spec: GroupSpec, partitions: int, created: int, topic_id: str) -> None:
        settings, redis = self._settings, self._redis
        assert redis is not None  # noqa: S101 - the task that calls this is started behind it; this tells mypy
        client_id = f"broker-{settings.instance}-{name}"
        shared = SharedGroup(redis, settings.mesh, name, created, spec)
        sight = Sight(self._chains, spec.chooser(self._chains.as_json))
        hosted = Hosted(name, spec, partitions, created, Books(self._client.streams, name), shared, sight)
        await hosted.stack.enter_async_context(hosted.books)
        box = LetterBox(settings.kafka, client_id, settings.deadletters)
        tools = Tools(
            shared, hosted.books, self._producer, box, settings.deadletters, sight, lambda: hosted.partitions, created,
            hosted.bell.ring, self._kafka_group(name),
        )  # fmt: skip
        check = partial(self._check_topic, hosted, topic_id)
        hosted.dispatcher = Dispatcher(tools, spec.topic, settings.kafka, client_id, self._kafka_group(name), check)
        await hosted.stack.enter_async_context(hosted.dispatcher)
        self._hosted[name] = hosted
        count_letters(spec.topic, name, 0)

    def _check_topic(self, hosted: Hosted, topic_id: str) -> int:
        """How many partitions its topic has now. Offsets mean nothing in one that was deleted and made anew under the same name:
        raises Conflict.
        """
        found = self._admin.state_of(hosted.spec.topic)
        if found.id != topic_id:
            raise Conflict(f"{found.name} was made anew since the group was made; delete the group and make it again")
        hosted.partitions = max(hosted.partitions, found.partitions)
        return hosted.partitions

    def _kafka_group(self, name: str) -> str:
        return f"{self._settings.group}.{name}"

    def topic_id(self, topic: str) -> str:
        """Which topic has this name now. Blocks. Raises NotFound or Unavailable."""
        return self._admin.state_of(topic).id

    async def _stop(self, name: str) -> None:
        """A group that was deleted: whoever stops last leaves nothing of it in Redis."""
        hosted = self._hosted.pop(name)
        await hosted.stack.aclose()
        try:
            await hosted.shared.remove(hosted.partitions)
        except NervError as error:
            log.warning(
                "group.remove", group=name, error=str(error)
            )  # some small keys stay, of a name that is not used again
