# SPDX-License-Identifier: Apache-2.0
"""Appends sent over Kafka instead of HTTP: a command for each, answered on the topic of replies."""

import asyncio
import time
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from nerv import topics
from nerv.api.history.v1 import history_pb2
from nerv.client.positions import Positions
from nerv.client.streams import append_message, outcome_of
from nerv.client.transport import DEADLINE_SECONDS
from nerv.errors import NotFound, Overloaded, Unavailable, UnknownOutcome
from nerv.kafka import (
    BatchConsumer,
    Bounds,
    Delivery,
    KafkaSettings,
    Outgoing,
    Position,
    Producer,
    Received,
    partition_of,
)
from nerv.protocols.history import AppendOutcome, AppendRequest
from nerv.telemetry import carrier
from nerv.types import Description, Health

IN_FLIGHT = 20_000  # commands without a reply; beyond: Overloaded
LINGER_MS = 1  # somebody waits for each reply
SENDER = "nerv_sender"  # a header of replies, so that each sender finds its own


class Commands:
    """`append` of `nerv.protocols.History` over `<mesh>.commands.v1`. Use as `async with`.

    It needs Kafka alone, not the address of a service: a command waits there while *temporal* is away, and whoever owns its
    partition next answers it. The right to append is Kafka's right to write the topic of commands.
    """

    def __init__(self, kafka: KafkaSettings, mesh: str = "nerv", positions: Positions | None = None) -> None:
        """`positions` keeps what the replies tell, for a client that also reads (`Client.commands`): a reply comes from Kafka
        itself, and can be here before the index of any replica has the event.
        """
        self._kafka = kafka
        self._commands = topics.name(mesh, "commands.v1")
        self._replies = topics.name(mesh, "replies.v1")
        self._sender = uuid.uuid4().hex
        self._client_id = f"nerv-client-{self._sender[:8]}"
        self._producer = Producer(kafka, self._client_id, bounds=Bounds(IN_FLIGHT), linger_ms=LINGER_MS)
        self._positions = positions or Positions()
        self._partitions = 0
        self._waiting: dict[str, asyncio.Future[AppendOutcome]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Raises NotFound for a mesh without the topics, or Unavailable."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._producer)
            self._partitions = await asyncio.to_thread(self._producer.partitions, self._commands)
            if not self._partitions:
                raise NotFound(f"Kafka has no topic {self._commands}; create it with `nerv topics create`")
            group = f"{self._client_id}-replies"  # no offsets are kept in its name
            async with BatchConsumer(self._kafka, self._client_id, group) as looking:
                ends = {(self._replies, p): (await looking.bounds((self._replies, p)))[1] for p in self._all()}
            consumer = BatchConsumer(self._kafka, self._client_id, group, assign=ends, eager=True)
            self._reading = asyncio.create_task(self._read(await stack.enter_async_context(consumer)))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        await self._stack.aclose()

    def _all(self) -> range:
        return range(self._partitions)

    async def append(
        self, requests: Sequence[AppendRequest], *, seconds: float = DEADLINE_SECONDS
    ) -> list[AppendOutcome]:
        """Append to many streams, each request for itself; outcomes in order (see `History.append`).

        Without a reply in `seconds` the outcome is unknown, for the command still stands in Kafka: repeat it with the same
        ids, or read the stream.
        """
        if self._reading is None:
            raise RuntimeError("use the commands as `async with`")
        if self._reading.done():
            raise Unavailable("replies cannot be read any more; open the client anew")
        deadline = time.monotonic() + seconds
        ids = [uuid.uuid4().hex for _ in requests]
        futures = [asyncio.get_running_loop().create_future() for _ in requests]
        self._waiting.update(zip(ids, futures, strict=True))
        try:
            sent = await self._producer.publish([self._record(*one) for one in zip(ids, requests, strict=True)])
            waiting = [future for future, delivery in zip(futures, sent, strict=True) if _may_be_answered(delivery)]
            if waiting:
                await asyncio.wait(waiting, timeout=max(deadline - time.monotonic(), 0.0))
        except Overloaded as error:
            return [error] * len(requests)
        finally:
            for one in ids:
                del self._waiting[one]
        outcomes = [_outcome(*one, seconds) for one in zip(futures, sent, strict=True)]
        self._positions.note(outcomes)
        return outcomes

    def describe(self) -> Description:
        """The commands as data. They are down before and after their block, and when replies cannot be read any more."""
        down = self._reading is None or self._reading.done()
        return Description(
            "Commands",
            self._client_id,
            inputs=(self._replies,),
            outputs=(self._commands,),
            counters={"waiting": len(self._waiting)},
            health=Health.DOWN if down else Health.OK,
            parts=(self._producer.describe(),),
        )

    def _record(self, command_id: str, request: AppendRequest) -> Outgoing:
        message = history_pb2.AppendCommand(id=command_id, sender=self._sender, request=append_message(request))
        headers = [(name, value.encode()) for name, value in carrier()._asdict().items() if value is not None]
        partition = partition_of(request.stream, self._partitions)
        return Outgoing(self._commands, message.SerializeToString(), request.stream.encode(), headers, partition)

    async def _read(self, consumer: BatchConsumer) -> None:
        try:
            async for batch in consumer.batches():
                for record in batch:
                    self._take(record)
        finally:
            for future in self._waiting.values():
                if not future.done():
                    future.set_result(UnknownOutcome("replies cannot be read any more; repeat it with the same ids"))

    def _take(self, record: Received) -> None:
        if (SENDER, self._sender.encode()) not in (record.headers() or ()):
            return  # somebody else's; told by a header, without reading the message
        message = history_pb2.AppendCommandReply.FromString(record.value() or b"")
        future = self._waiting.get(message.command_id)
        if future is not None and not future.done():
            future.set_result(outcome_of(message.reply))


def _may_be_answered(delivery: Delivery) -> bool:
    return isinstance(delivery, Position | UnknownOutcome)


def _outcome(future: "asyncio.Future[AppendOutcome]", delivery: Delivery, seconds: float) -> AppendOutcome:
    if future.done():
        return future.result()
    if not isinstance(delivery, Position):
        return delivery
    return UnknownOutcome(f"no reply within {seconds:g} s; repeat it with the same ids", retry_after=1.0)
