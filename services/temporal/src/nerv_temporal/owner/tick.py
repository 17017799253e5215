# SPDX-License-Identifier: Apache-2.0
"""One transaction of an owner: what it writes, and what each request is told once that is committed."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from nerv.api.history.v1 import history_pb2
from nerv.client.commands import SENDER
from nerv.cloudevents.proto_format import from_us
from nerv.history import Duplicate
from nerv.kafka import Outgoing
from nerv.protocols import Appended, AppendOutcome
from nerv.types import Event
from nerv_temporal.index import Index, row_of
from nerv_temporal.model import Accepted, Verdict, plan_tick
from nerv_temporal.owner.waiting import Waiting
from nerv_temporal.records import (
    Answered,
    Closing,
    Written,
    answered_record,
    barrier_record,
    closing_record,
    event_record,
)
from nerv_temporal.settings import TemporalSettings
from nerv_temporal.wire import reply_to


class Tick:
    """The plan of one transaction. Everything it needs of the index is looked up when it is made."""

    def __init__(self, partition: int, taken: Sequence[Waiting], index: Index, recorded_us: int) -> None:
        self.taken = taken
        self._partition = partition
        self._covered = index.partition(partition).next_offset - 1
        self._plan = plan_tick([item.append for item in taken if item.append is not None], index, recorded_us)
        self._recorded = from_us(recorded_us)
        self._closing_us = max(item.closing_us for item in taken)
        self._next_command = max((item.command.offset + 1 for item in taken if item.command is not None), default=0)
        verdicts = iter(self._plan.verdicts)
        self._verdicts = [next(verdicts) if item.append is not None else None for item in taken]
        self._first_recorded = {
            (item.append.stream, verdict.last_version): event.recorded_time_us
            for item, verdict in zip(taken, self._verdicts, strict=True)
            if item.append is not None
            and isinstance(verdict, Duplicate)
            and (event := index.event(item.append.stream, verdict.last_version)) is not None
        }

    @property
    def events(self) -> list[Event[bytes]]:
        """What is appended."""
        return [stored.event for stored in self._plan.events]

    def written(self) -> list[Written]:
        """What is written to history, as the index takes it, in the order of `outgoing`."""
        found: list[Written] = []
        if self._closing_us:
            found.append(Closing(self._closing_us))
        if self._next_command:
            found.append(Answered(self._next_command))
        found.extend(map(row_of, self._plan.events))
        return found

    def outgoing(self, settings: TemporalSettings, now: datetime) -> list[Outgoing]:
        """The records: a closing of recorded time, how far commands are answered, then the events."""
        topic, partition = settings.history, self._partition
        made: list[Outgoing] = []
        if self._closing_us:
            made.append(closing_record(topic, partition, self._closing_us, now))
        if self._next_command:
            made.append(answered_record(topic, partition, self._next_command, now))
        made.extend([event_record(topic, partition, stored.event) for stored in self._plan.events])
        return made or [barrier_record(settings.barriers, partition, now)]

    @property
    def has_commands(self) -> bool:
        """Whether someone waits for a reply over Kafka."""
        return self._next_command > 0

    def outcomes(self, last: int) -> list[AppendOutcome]:
        """What each request is told, when the last record of history stands at offset `last` (-1: there is none)."""
        return [self._outcome(item, verdict, last) for item, verdict in zip(self.taken, self._verdicts, strict=True)]

    def _outcome(self, item: Waiting, verdict: Verdict | None, last: int) -> AppendOutcome:
        if item.append is None or verdict is None:
            refusal = item.command.refusal if item.command is not None else None
            return refusal or Appended(0, 0, self._partition, max(self._covered, last), self._recorded)
        if isinstance(verdict, Duplicate):
            return self._first_answer(item.append.stream, verdict, last)
        if isinstance(verdict, Accepted):
            return self._done(verdict, last)
        return verdict

    def _done(self, accepted: Accepted, last: int) -> Appended:
        events = self._plan.events
        first, final = events[accepted.start].event, events[accepted.stop - 1].event
        offset = last - (len(events) - accepted.stop)
        return Appended(first.sequence or 0, final.sequence or 0, self._partition, offset, self._recorded)

    def _first_answer(self, stream: str, duplicate: Duplicate, last: int) -> Appended:
        # A position that covers the event serves as well as its own: the token only says how far to have read. An event
        # that the index has not yet is of this very tick.
        first_us = self._first_recorded.get((stream, duplicate.last_version))
        return Appended(
            duplicate.first_version,
            duplicate.last_version,
            self._partition,
            max(self._covered, last),
            self._recorded if first_us is None else from_us(first_us),
            duplicate=True,
        )

    def replies(self, settings: TemporalSettings, last: int) -> Iterator[Outgoing]:
        """What goes to the senders of commands, and to the dead letters: written by the same transaction."""
        for item, outcome in zip(self.taken, self.outcomes(last), strict=True):
            command = item.command
            if command is None:
                continue
            if command.letter is not None:
                yield command.letter
                continue
            message = history_pb2.AppendCommandReply(
                command_id=command.id, sender=command.sender, reply=reply_to(outcome, settings.history)
            )
            yield Outgoing(
                settings.replies,
                message.SerializeToString(),
                command.key,
                [(SENDER, command.sender.encode())],
                self._partition,
            )
