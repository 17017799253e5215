# SPDX-License-Identifier: Apache-2.0
"""Append requests that come over Kafka: read by the owner of their partition, from where the last owner has committed."""

import asyncio
from collections.abc import Mapping

import structlog

from nerv.api.history.v1 import history_pb2
from nerv.app import App
from nerv.errors import Invalid, NervError
from nerv.kafka import BatchConsumer, Consumed, Received, partition_of
from nerv.kafka.deadletters import dead_letter, where
from nerv.protocols import AppendOutcome
from nerv.types import check_id
from nerv_temporal.owner.waiting import Command, Queue, Waiting
from nerv_temporal.settings import TemporalSettings
from nerv_temporal.wire import read_append

log = structlog.get_logger(__name__)

FIRST_PAUSE = 0.2  # s, doubled with each failure
LONGEST_PAUSE = 5.0
LOOK_SECONDS = 0.005  # how long a question about offsets waits for the consumer's thread, while nobody can write
WAIT_SECONDS = 0.05
RENEW_SECONDS = 24 * 3600.0  # Kafka forgets an offset that has not been committed for 7 days


class Commands:
    """The commands of one partition, for as long as one take-over holds: `begin`, then `run` in a task.

    A command is answered by the transaction that also moves the group's offset past it, so that it is answered once. Kafka
    forgets offsets after 7 days without a commit. A partition that had an owner and has no offset must not be read from its
    beginning: what was refused then could be done now. Such commands are passed over; their senders, who have no answer,
    repeat them.
    """

    def __init__(
        self, settings: TemporalSettings, app: App, partition: int, queue: Queue, *, first_owner: bool
    ) -> None:
        self._settings = settings
        self._app = app
        self._partition = partition
        self._queue = queue
        self._first_owner = first_owner
        self._at = (settings.commands, partition)
        self._next = 0
        self._group: object = None

    async def begin(self) -> Consumed:
        """Where to go on reading; asked behind `init_transactions`, when no earlier owner can commit any more.

        Raises Unavailable.
        """
        async with self._consumer(wait=LOOK_SECONDS) as consumer:
            low, end = await consumer.bounds(self._at)
            found = (await consumer.committed([self._at])).get(self._at)
            self._group = consumer.group_metadata()
        if found is None and not self._first_owner:
            log.warning("commands.offset_lost", partition=self._partition, passed_over=end - low)
            found = end
        self._next = max(found or 0, low)
        return self.consumed(self._next)

    def consumed(self, next_command: int) -> Consumed:
        """What a transaction consumes that takes the commands before this offset."""
        return Consumed(self._group, {self._at: next_command})

    async def run(self) -> None:
        """Read until cancelled; what fails is tried again from where it was."""
        pause = FIRST_PAUSE
        while True:
            try:
                await self._read()
            except NervError as error:
                log.warning("commands.failed", partition=self._partition, error=str(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _consumer(
        self, *, assign: Mapping[tuple[str, int], int] | None = None, wait: float = WAIT_SECONDS
    ) -> BatchConsumer:
        settings = self._settings
        return BatchConsumer(
            settings.kafka,
            f"temporal-{settings.instance}-commands-{self._partition}",
            settings.commands_group,
            assign=assign,
            batch=settings.temporal.tick_events,
            wait=wait,
            eager=True,
        )

    async def _read(self) -> None:
        async with self._consumer(assign={self._at: self._next}) as consumer:
            renewing = asyncio.create_task(self._renew())
            try:
                async for batch in consumer.batches():
                    items = [self._item(record) for record in batch]
                    self._next = batch[-1].offset() + 1
                    self._queue.put_commands(items)
                    await asyncio.wait([item.future for item in items])
            finally:
                renewing.cancel()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            self._queue.put_commands([Waiting(_future(), command=Command(self._next - 1))])

    async def _start(self, consumer: BatchConsumer) -> int:
        at = (self._settings.commands, self._partition)
        low, end = await consumer.bounds(at)
        found = (await consumer.committed([at])).get(at)
        if found is None and not self._first_owner:
            log.warning("commands.offset_lost", partition=self._partition, passed_over=end - low)
            return end
        return max(found or 0, low)

    def _item(self, record: Received) -> Waiting:
        value, key = record.value() or b"", record.key() or b""
        try:
            message = history_pb2.AppendCommand.FromString(value)
            command_id, sender = check_id(message.id, "command id"), check_id(message.sender, "sender")
        except Exception as error:  # protobuf's DecodeError is not one type over its implementations
            cause = f"not a nerv.api.history.v1.AppendCommand with id and sender: {error}"
            letter = dead_letter(self._settings.deadletters, record, cause, "temporal")
            log.warning("commands.poison", origin=where(record), cause=cause)
            return Waiting(_future(), command=Command(record.offset(), letter=letter))
        outcome = read_append(message.request, self._app, self._settings.limits)
        if not isinstance(outcome, NervError):
            belongs = partition_of(outcome.stream, self._settings.partitions)
            if belongs != self._partition:
                outcome = Invalid(
                    f"commands for {outcome.stream} belong in partition {belongs}, not {self._partition}: "
                    "partition by murmur2 of the stream, as Kafka's own clients do with the stream as key"
                )
        refusal = outcome if isinstance(outcome, NervError) else None
        command = Command(record.offset(), command_id, sender, key, refusal)
        return Waiting(_future(), None if isinstance(outcome, NervError) else outcome, size=len(value), command=command)


def _future() -> "asyncio.Future[AppendOutcome]":
    return asyncio.get_running_loop().create_future()
