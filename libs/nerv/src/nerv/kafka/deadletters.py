# SPDX-License-Identifier: Apache-2.0
"""The record of what could not be processed (rule 15): the original bytes, and why, where from and by whom as headers."""

from typing import Final

from nerv.kafka.records import Outgoing, Received

CAUSE: Final = "nerv_deadletter_cause"
ORIGIN: Final = "nerv_deadletter_origin"  # <topic>/<partition>/<offset>
ATTEMPT: Final = "nerv_deadletter_attempt"
BY: Final = "nerv_deadletter_by"


def where(record: Received) -> str:
    """`topic/partition/offset`."""
    return f"{record.topic()}/{record.partition()}/{record.offset()}"


def dead_letter(topic: str, record: Received, cause: str, by: str, *, attempt: int = 1) -> Outgoing:
    """The dead letter of a record. Key and headers stay, so that it can be sent again as it was."""
    headers = [
        *(record.headers() or []),
        (CAUSE, cause.encode("utf-8", "replace")),
        (ORIGIN, where(record).encode()),
        (ATTEMPT, str(attempt).encode()),
        (BY, by.encode()),
    ]
    return Outgoing(topic, record.value(), record.key(), headers)
