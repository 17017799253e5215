# SPDX-License-Identifier: Apache-2.0
"""What one reaction answered to one record, and which answers must wait for others of their key. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from nerv.app import ReactionSpec
from nerv.errors import NervError, Retry
from nerv.kafka import Outgoing, Received
from nerv.model import EventModel
from nerv.protocols import AppendRequest
from nerv.subscriptions import key_text
from nerv.types import Event
from nerv_broker.model import Asked, describe

Lane: TypeAlias = tuple[str, str, int, str]
"""Reaction, topic, partition, key: what has an order of its own."""

BEHIND = "it came behind an event of its key that failed"


@dataclass(slots=True)
class Answer:
    """What a reaction asks for because of a record, or the error that it ended with; `held`: it waits for one of its key.

    `appends`, `records` (what is published) and `calls` are all that it asks for, in order. `before` counts attempts that
    ended among the dead letters, `attempt` those of now.
    """

    reaction: ReactionSpec
    record: Received
    event: Event[bytes]
    model: EventModel | None = None
    appends: Sequence[AppendRequest] = ()
    records: Sequence[Outgoing] = ()
    calls: Sequence[Asked] = ()
    error: Exception | None = None
    held: bool = False
    before: int = 0
    attempt: int = 1
    lane: Lane | None = field(init=False)

    def __post_init__(self) -> None:
        key = key_text(self.record.key())
        record = self.record
        self.lane = None if key is None else (self.reaction.name, record.topic(), record.partition(), key)

    @property
    def good(self) -> bool:
        """Whether what it asks for is to happen."""
        return self.error is None and not self.held

    @property
    def may_recover(self) -> bool:
        """Whether another attempt could end otherwise: not where an error of ours says that it will not."""
        error = self.error
        return error is not None and not (isinstance(error, NervError) and error.retry is Retry.NEVER)

    @property
    def cause(self) -> str:
        """Why it is among the dead letters."""
        return BEHIND if self.error is None else describe(self.error)


def hold(answers: Iterable[Answer], parked: Callable[[Answer], bool], stopped: set[Lane]) -> None:
    """Hold what stands behind an event of its key that failed, in this batch or before. Without a key nothing waits.

    `stopped` grows by the lanes that stop here.
    """
    for one in answers:
        if one.lane is None:
            continue
        if one.lane in stopped or parked(one):
            one.held, one.error = True, None
        if not one.good:
            stopped.add(one.lane)


def ahead(answers: Sequence[Answer]) -> tuple[list[Answer], list[Answer]]:
    """Those that can be performed now, and those that wait: for another attempt, or behind one of their key that does."""
    waiting: set[Lane] = set()
    now: list[Answer] = []
    later: list[Answer] = []
    for one in answers:
        waits = one.may_recover or (one.lane is not None and one.lane in waiting)
        if waits and one.lane is not None:
            waiting.add(one.lane)
        (later if waits else now).append(one)
    return now, later
