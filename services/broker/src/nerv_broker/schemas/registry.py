# SPDX-License-Identifier: Apache-2.0
"""Every replica follows the topic of schemas; whoever registers one becomes its only writer for that moment.

Two replicas could each find a new schema compatible with what they know, and write versions that do not suit each other. So
a registration takes the topic over first (see `nerv.kafka.fenced`): then nobody else can write, and what was written before
has been read. Registrations are rare, and a take-over lasts some 100 ms.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Self

import structlog

from nerv.app import App
from nerv.errors import Conflict, Misconfigured, Unavailable, UnknownOutcome
from nerv.kafka import CommitFailed, FencedWriter, Outgoing, Received
from nerv.kafka.admin import Admin, check_partitions
from nerv.kafka.following import Follower
from nerv.schemas import Schema, Version, check_next, of_events, of_messages, registered
from nerv.schemas.records import from_value, to_value
from nerv.types import utc_now
from nerv_broker.settings import BrokerSettings

log = structlog.get_logger(__name__)

FENCE = b":fence-"  # keys of fences; no subject begins with a colon
REGISTER_SECONDS = 30.0  # for a registration, however often the topic changes hands
READ_SECONDS = 10.0  # for what is in the topic to be read
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
Subjects = Mapping[str, tuple[Version, ...]]


class Registry:
    """All registered schemas by subject. Use as `async with`: entering reads them and registers those of this release."""

    def __init__(self, settings: BrokerSettings, admin: Admin, app: App) -> None:
        self._settings, self._admin, self._app = settings, admin, app
        self._topic = settings.schemas
        self._subjects: dict[str, tuple[Version, ...]] = {}
        self._name = f"broker-{settings.instance}-schemas"
        self.follower = Follower(settings.kafka, self._name, self._topic, 1, self._apply)
        self._registering = asyncio.Lock()

    async def __aenter__(self) -> Self:
        found = await asyncio.to_thread(self._admin.state_of, self._topic)
        check_partitions(found.name, 1, found.partitions)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.follower)
            await self._register_release()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def subjects(self) -> Subjects:
        """The versions of each subject, as far as this replica has read."""
        return self._subjects

    def check(self, schema: Schema) -> tuple[int, bool]:
        """The number that a schema has or would have, and whether it has it. Raises Conflict, TooLarge. Changes nothing."""
        versions = self._subjects.get(schema.subject, ())
        known = registered(versions, schema)
        if known is not None:
            return known.number, True
        return check_next(versions, schema, self._settings.broker.schema_compatibility), False

    async def register(self, schemas: Sequence[Schema], by: str) -> list[tuple[Version, bool]]:
        """Register them, all or none; each with whether it is new. Registering the same again changes nothing.

        Raises Conflict or TooLarge; Unavailable when nothing happened, UnknownOutcome when nobody knows: repeat it.
        """
        async with self._registering:
            before = {s.id for s in schemas if registered(self._subjects.get(s.subject, ()), s) is not None}
            if len(before) < len({s.id for s in schemas}):
                await self._write(schemas, by)
        found = []
        for schema in schemas:
            version = registered(self._subjects[schema.subject], schema)
            assert version is not None  # noqa: S101 - it was known, or has been written and read
            found.append((version, schema.id not in before))
        return found

    async def _register_release(self) -> None:
        schemas = [*of_events(self._app), *of_messages()]
        await self._read_to_end()
        made: list[tuple[Version, bool]] | None = None
        while made is None:
            try:
                made = await self.register(schemas, f"nerv:{self._app.name}")
            except Conflict as error:
                detail = f"app {self._app.name} cannot be hosted: {error.detail}"
                raise Misconfigured(detail, errors=error.errors) from None
            except (Unavailable, UnknownOutcome) as error:
                # Replicas that start together may fence each other for long on a slow Kafka. To end would only begin that anew.
                log.warning("schemas.late", error=error.detail)
        new = [f"{version.schema.subject}@{version.number}" for version, is_new in made if is_new]
        log.info("schemas.ready", subjects=len(self._subjects), registered=new)

    async def _read_to_end(self) -> None:
        try:
            async with asyncio.timeout(READ_SECONDS):
                await self.follower.caught_up()
        except TimeoutError:
            raise Unavailable(f"{self._topic} was not read within {READ_SECONDS:g} s; is Kafka well?") from None

    async def _write(self, schemas: Sequence[Schema], by: str) -> None:
        deadline = time.monotonic() + REGISTER_SECONDS
        pause, tried = FIRST_PAUSE, False
        while self._records(schemas, by):  # another replica may have registered the same meanwhile
            try:
                async with self._only_writer() as writer:
                    records = self._records(schemas, by)
                    if records:
                        tried = True
                        # A cancelled registration must not leave a transaction that nobody ends.
                        await self._reached(await asyncio.shield(writer.commit(records)))
                return
            except CommitFailed as error:
                # Another replica took over, or Kafka is slow: whoever goes on reads first what became of it.
                if time.monotonic() + pause > deadline:
                    kind = UnknownOutcome if tried else Unavailable
                    raise kind(f"the schemas are not surely registered: {error.detail}; send them again") from error
                log.info("schemas.again", error=error.detail)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
                pause = min(2 * pause, LONGEST_PAUSE)

    @asynccontextmanager
    async def _only_writer(self) -> AsyncIterator[FencedWriter]:
        writer = FencedWriter(self._settings.kafka, self._topic, 0, self._name)
        try:
            taken = await writer.take_over(self._fence)
            await self._reached(taken.offset)
            yield writer
        finally:
            await writer.close()

    def _fence(self, token: str, producer: str) -> Outgoing:
        return Outgoing(self._topic, None, FENCE + producer.encode(), [("nerv_fence_token", token.encode())], 0)

    def _records(self, schemas: Sequence[Schema], by: str) -> list[Outgoing]:
        """A record for each subject that changes. Raises Conflict or TooLarge for the first schema that does not suit."""
        changed: dict[str, tuple[Version, ...]] = {}
        now = utc_now()
        for schema in schemas:
            versions = changed.get(schema.subject, self._subjects.get(schema.subject, ()))
            if registered(versions, schema) is None:
                number = check_next(versions, schema, self._settings.broker.schema_compatibility)
                changed[schema.subject] = (*versions, Version(number, schema, now, by))
        return [
            Outgoing(self._topic, to_value(subject, versions), subject.encode(), (), 0)
            for subject, versions in changed.items()
        ]

    def _apply(self, batch: Sequence[Received]) -> None:
        for record in batch:
            value = record.value()
            if value is not None:
                subject, versions = from_value(value)
                self._subjects[subject] = versions

    async def _reached(self, offset: int) -> None:
        try:
            await self.follower.reached(0, offset, READ_SECONDS)
        except Unavailable as error:
            raise CommitFailed(error.detail) from error
