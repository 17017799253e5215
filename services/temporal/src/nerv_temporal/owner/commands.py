# SPDX-License-Identifier: Apache-2.0
"""Append requests that come over Kafka: read by the owner of their partition, from where the last answer stands."""

import asyncio
from collections.abc import Mapping

import structlog

from nerv.api.history.v1 import history_pb2
from nerv.app import App
from nerv.errors import Invalid, NervError, Unavailable
from nerv.kafka import BatchConsumer, Received, partition_of
from nerv.kafka.deadletters import count_letters, dead_letter, where
from nerv.kafka.owning import Queue
from nerv.protocols import AppendOutcome
from nerv.types import check_id
from nerv_temporal.index import Index
from nerv_temporal.owner.waiting import Command, Waiting
from nerv_temporal.settings import TemporalSettings
from nerv_temporal.wire import read_append

log = structlog.get_logger(__name__)

FIRST_PAUSE = 0.2  # s, doubled with each failure
LONGEST_PAUSE = 5.0


class Commands:
    """The commands of one partition, for as long as one take-over holds.

    How far they are answered stands in history, written by the transaction that answers them: a take-over that has read the
    log up to its own fence knows it, and every command is answered once. Group offsets would be a second truth, which Kafka
    forgets after 7 idle days, and whose commit can hang (docs/adr/0006).
    """

    def __init__(self, settings: TemporalSettings, app: App, partition: int, queue: Queue[Waiting]) -> None:
        self._settings = settings
        self._app = app
        self._partition = partition
        self._queue = queue
        self._at = (settings.commands, partition)
        count_letters(settings.commands, "temporal", 0)

    async def run(self, index: Index) -> None:
        """Read until cancelled, from what `index` knows to be answered; what fails is tried again."""
        pause = FIRST_PAUSE
        while True:
            try:
                await self._read(index.partition(self._partition).next_command)
            except NervError as error:
                log.warning("commands.failed", partition=self._partition, error=str(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _read(self, answered: int) -> None:
        async with self._consumer() as looking:
            low, end = await looking.bounds(self._at)
        if answered > end:
            # A broker that has just come back may not know its end yet. To begin anew would judge old refusals again.
            raise Unavailable(
                f"{self._at[0]}/{self._partition} ends at {end}, and is answered up to {answered}; if the topic was made "
                "anew, commands below that offset are not answered: send them over HTTP",
                retry_after=LONGEST_PAUSE,
            )
        async with self._consumer({self._at: max(answered, low)}) as consumer:
            async for batch in consumer.batches():
                items = [self._item(record) for record in batch]
                self._queue.put_read(items)
                await asyncio.wait([item.future for item in items])

    def _consumer(self, assign: Mapping[tuple[str, int], int] | None = None) -> BatchConsumer:
        name = f"temporal-{self._settings.instance}-commands-{self._partition}"
        ticks = self._settings.temporal
        # The group only has a name: it assigns nothing, and no offset is committed in it.
        return BatchConsumer(self._settings.kafka, name, name, assign=assign, batch=ticks.tick_events, eager=True)

    def _item(self, record: Received) -> Waiting:
        value, key = record.value() or b"", record.key() or b""
        try:
            message = history_pb2.AppendCommand.FromString(value)
            command_id, sender = check_id(message.id, "command id"), check_id(message.sender, "sender")
        except Exception as error:  # protobuf's DecodeError is not one type over its implementations
            cause = f"not a nerv.api.history.v1.AppendCommand with id and sender: {error}"
            letter = dead_letter(self._settings.deadletters, record, cause, "temporal")
            count_letters(record.topic(), "temporal")
            log.warning("commands.poison", origin=where(record), cause=cause)
            return Waiting(_future(), kept=False, command=Command(record.offset(), letter=letter))
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
        append = None if isinstance(outcome, NervError) else outcome
        count = 0 if append is None else len(append.events)
        return Waiting(_future(), count, len(value), kept=False, append=append, command=command)


def _future() -> "asyncio.Future[AppendOutcome]":
    return asyncio.get_running_loop().create_future()
