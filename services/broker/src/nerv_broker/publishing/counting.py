# SPDX-License-Identifier: Apache-2.0
"""How much is published, by topic, and how much of it went to the dead letters at the door. Counted once a batch."""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from nerv.kafka.deadletters import DOOR, count_letters
from nerv.telemetry import counter
from nerv.telemetry import names as n

_sent = counter(n.SENT_MESSAGES)


class Sent(Protocol):
    """An event on its way to a topic; `unfit` says why it goes to the dead letters instead."""

    @property
    def topic(self) -> str:
        """Where it was meant for."""
        ...

    @property
    def unfit(self) -> object | None:
        """Why not there."""
        ...


def count_published(sent: Sequence[Sent]) -> None:
    """Kafka has all of these."""
    for topic, count in Counter([one.topic for one in sent if one.unfit is None]).items():
        _sent.add(count, {n.SYSTEM: n.KAFKA, n.DESTINATION: topic})
    for topic, count in Counter([one.topic for one in sent if one.unfit is not None]).items():
        count_letters(topic, f"{DOOR}{topic}", count)
