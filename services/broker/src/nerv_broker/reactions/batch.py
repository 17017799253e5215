# SPDX-License-Identifier: Apache-2.0
"""One batch from its answers to its end: performed, tried again, held or parked, and committed as one."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence

import structlog

from nerv.kafka import BatchConsumer, Outgoing, Received, TransactionalProducer
from nerv.kafka.deadletters import count_letters, dead_letter, letter_of
from nerv_broker.reactions.answers import Answer, Lane, ahead, hold
from nerv_broker.reactions.parking import Parks
from nerv_broker.reactions.performing import Performer
from nerv_broker.reactions.planning import Planner
from nerv_broker.reactions.replaying import noted
from nerv_broker.reactions.ways import tell
from nerv_broker.settings import EdgeSettings

log = structlog.get_logger(__name__)

FIRST_PAUSE = 0.05  # s, doubled with each attempt of a reaction that fails
LONGEST_PAUSE = 1.0

Offsets = Mapping[tuple[str, int], int]
Letters = Sequence[tuple[Received, str]]
"""Records that are no events, and why."""


class Ending:
    """Brings the batches of one membership to their end."""

    def __init__(
        self,
        settings: EdgeSettings,
        deadletters: str,
        planner: Planner,
        performer: Performer,
        parks: Parks,
        producer: TransactionalProducer,
    ) -> None:
        self._settings, self._deadletters = settings, deadletters
        self._planner, self._performer, self._parks, self._producer = planner, performer, parks, producer
        self.committed: dict[tuple[str, int], int] = {}

    async def end(self, answers: Sequence[Answer], rubbish: Letters, offsets: Offsets, consumer: BatchConsumer) -> None:
        """Perform what the answers ask for, then write publishes, dead letters and offsets in one transaction.

        What fails is tried again while the others are performed. Cancelled or failed, nothing of the transaction stands,
        and what was performed before it is known again by its ids.
        """
        await self._parks.take(offsets)
        stopped: set[Lane] = set()
        # Keys that wait already are not tried at all.
        hold((one for one in answers if self._parks.holds(one)), lambda _: True, stopped)
        now, later = ahead(answers)
        await self._perform(now, stopped, asyncio.create_task(self._retry(later)) if later else None)
        await self._perform(later, stopped, None)
        await self._commit(answers, rubbish, offsets, consumer)
        await self._parks.forget(answers)

    async def again(self, answers: Sequence[Answer], token: Callable[[Answer], str], consumer: BatchConsumer) -> None:
        """The same for dead letters of one reaction, which wait for nothing but those before them.

        The offsets of their partitions stay where they are, but are committed with a note of what was replayed: so the
        transaction is fenced as every other, and whoever comes after a death here knows that it stands.
        """
        stopped: set[Lane] = set()
        await self._retry(answers)
        hold(answers, lambda _: False, stopped)
        await self._performer.perform(answers)
        partitions = {(one.record.topic(), one.record.partition()) for one in answers}
        stay = {partition: self.committed.get(partition, 0) for partition in partitions}
        note = noted(token(one) for one in answers if one.good)
        await self._commit([one for one in answers if not one.held], (), stay, consumer, dict.fromkeys(stay, note))

    async def _perform(self, answers: Sequence[Answer], stopped: set[Lane], beside: asyncio.Task[None] | None) -> None:
        try:
            hold(answers, lambda _: False, stopped)
            await self._performer.perform(answers)
            stopped.update(one.lane for one in answers if one.error is not None and one.lane is not None)
            if beside is not None:
                await beside
        finally:
            if beside is not None:
                beside.cancel()

    async def _retry(self, answers: Sequence[Answer]) -> None:
        """Ask reactions that failed again, a few times, with growing pauses."""
        pause = FIRST_PAUSE
        while failed := [o for o in answers if o.may_recover and o.attempt < self._settings.reaction_attempts]:
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
            pause = min(2 * pause, LONGEST_PAUSE)
            for one in failed:
                one.attempt += 1
            self._planner.react(failed)

    async def _commit(
        self,
        answers: Sequence[Answer],
        rubbish: Letters,
        offsets: Offsets,
        consumer: BatchConsumer,
        notes: Mapping[tuple[str, int], str] | None = None,
    ) -> None:
        records: list[Outgoing] = [record for one in answers if one.good for record in one.records]
        records += [dead_letter(self._deadletters, record, cause, "broker") for record, cause in rubbish]
        bad = [one for one in answers if not one.good]
        if bad:
            # The books name the place of each letter, so that is asked for before the transaction ends; what the books say
            # of a letter that then never was is put right when its record comes again.
            places = await self._producer.write([self._letter(one) for one in bad])
            await self._parks.park(bad, places)
        await self._producer.commit(records, offsets, consumer, notes=notes)
        self.committed |= offsets
        tell(answers)
        for one in bad:
            if not one.held:
                count_letters(one.record.topic(), one.reaction.name)
                log.error("poison", by=one.reaction.name, cause=one.cause)
        for record, cause in rubbish:
            count_letters(record.topic(), "broker")
            log.error("poison", by="broker", cause=cause)

    def _letter(self, one: Answer) -> Outgoing:
        attempt = one.before + one.attempt
        return letter_of(one.record, one.cause, one.reaction.name, attempt=attempt).outgoing(self._deadletters)
