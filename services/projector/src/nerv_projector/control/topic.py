# SPDX-License-Identifier: Apache-2.0
"""`<mesh>.projections.control.v1`: one record a projection says all that stands. Every replica follows it.

A decision is made by a producer that shuts out all others, on what the topic says then; so no two decisions are made on the same
ground. A crash at any line leaves the topic as it was or with the whole decision in it.
"""

import asyncio
import uuid
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

import structlog

from nerv.cancelling import end
from nerv.errors import Unavailable
from nerv.kafka import BatchConsumer, KafkaSettings, Outgoing, TransactionalProducer
from nerv.kafka.admin import Admin
from nerv_projector.control.model import Control, Step

log = structlog.get_logger(__name__)

READ_SECONDS = 30.0  # how long reading the topic to its end may take; it holds one record a projection, or little more
ASK_SECONDS = 0.02
BEFORE = -1  # the record, as it were, by which the first version is live

Heard = Callable[[str, Control], None]


class ControlTopic:
    """What stands for each projection, as far as this replica has read. Use as `async with`; then all of it is read."""

    def __init__(self, kafka: KafkaSettings, client_id: str, group: str, topic: str) -> None:
        self._kafka, self._client_id, self._group = kafka, f"{client_id}-control", f"{group}.control"
        self.topic = topic
        self.heard: Heard | None = None  # told of every record, once it is entered
        self._controls: dict[str, Control] = {}
        self._since: dict[str, int] = {}  # by which record the live version of each is so
        self._offsets: dict[str, int] = {}  # of the last record of each
        self._read = 0
        self.id = ""  # Kafka's, of the topic
        self._consumer: BatchConsumer | None = None
        self._stack = AsyncExitStack()
        self._fault: str | None = None

    def of(self, projection: str) -> Control:
        """What stands for a projection."""
        return self._controls.get(projection, Control())

    def skipped(self, projection: str) -> frozenset[str]:
        """The ids of the events that no fold of a projection takes."""
        return self.of(projection).skipped

    def since(self, projection: str, version: int) -> int | None:
        """By which record a version is live; BEFORE where nothing was decided yet; None where it is not live."""
        return self._since.get(projection, BEFORE) if self.of(projection).live == version else None

    def offset(self, projection: str) -> int:
        """The last record about a projection; BEFORE where there is none."""
        return self._offsets.get(projection, BEFORE)

    @property
    def controls(self) -> Mapping[str, Control]:
        """Of all that anything was ever decided about."""
        return self._controls

    @property
    def fault(self) -> str | None:
        """Why this replica no longer hears what is decided."""
        return self._fault

    async def __aenter__(self) -> Self:
        state = await asyncio.to_thread(
            Admin(self._kafka, self._client_id).state_of, self.topic
        )  # or it says what to create
        self.id = state.id
        consumer = self._consumer = BatchConsumer(
            self._kafka, self._client_id, self._group, assign={(self.topic, 0): 0}, reset="earliest", ends=True
        )
        # Asked before it reads: behind a request for records that do not come, the answer takes a tenth of a second.
        bounds = asyncio.create_task(consumer.bounds((self.topic, 0)))
        await asyncio.sleep(0)
        await self._stack.enter_async_context(consumer)
        task = asyncio.create_task(self._follow(consumer), name=self._client_id)
        self._stack.push_async_callback(end, task)
        try:
            _, high = await bounds
            await self._read_to(high, consumer)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def decide(self, projection: str, step: Step) -> Control:
        """Have a decision stand, and answer what stands then. Raises Conflict, Unavailable or UnknownOutcome."""
        producer = TransactionalProducer(
            self._kafka, self._group, f"{self._client_id}-{uuid.uuid4().hex[:8]}", destination=self.topic
        )
        try:
            await producer.start()  # nobody else can write from here on, and what others were writing has ended
            await self._catch_up()
            decided = step(self.of(projection))
            record = Outgoing(self.topic, decided.to_bytes(), projection.encode(), partition=0)
            await producer.commit([record], {})
        finally:
            await producer.close()
        log.warning("projection.decided", projection=projection, decided=str(decided))
        await self._catch_up()
        return decided

    async def _catch_up(self) -> None:
        if self._consumer is None:
            raise RuntimeError("use it as `async with`")
        _, high = await self._consumer.bounds((self.topic, 0))
        await self._read_to(high, self._consumer)

    async def _read_to(self, high: int, consumer: BatchConsumer) -> None:
        async with asyncio.timeout(READ_SECONDS):
            while max(self._read, consumer.ended.get((self.topic, 0), 0)) < high:
                if self._fault is not None:
                    raise Unavailable(self._fault, retry_after=1.0)
                await asyncio.sleep(ASK_SECONDS)

    async def _follow(self, consumer: BatchConsumer) -> None:
        try:
            async for records in consumer.batches():
                for record in records:
                    self._hear((record.key() or b"").decode(), record.value(), record.offset())
                    self._read = record.offset() + 1
        except Exception as error:
            self._fault = f"what is decided about projections is not heard any more: {error}"
            log.error("control.failed", exc_info=error)

    def _hear(self, projection: str, value: bytes | None, offset: int) -> None:
        control = Control() if value is None else Control.from_bytes(value)
        if control.live != self.of(projection).live:
            self._since[projection] = offset
        self._offsets[projection] = offset
        self._controls[projection] = control
        if self.heard is not None:
            self.heard(projection, control)
