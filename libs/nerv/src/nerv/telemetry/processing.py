# SPDX-License-Identifier: Apache-2.0
"""How much a group processes, how long a batch takes, and what fails: measured once a batch."""

import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from nerv.telemetry import names as n
from nerv.telemetry.distributions import histogram
from nerv.telemetry.instruments import counter

_durations = histogram(n.PROCESS_DURATION)
_consumed = counter(n.CONSUMED_MESSAGES)


class OfTopic(Protocol):
    """A record of Kafka."""

    def topic(self) -> str:
        """Where it was read."""
        ...


def by_topic(records: Sequence[OfTopic], topics: Collection[str]) -> Mapping[str, int]:
    """How many of a batch's records are of each of these topics, in which all of them are; one topic costs nothing."""
    if len(topics) == 1:
        return dict.fromkeys(topics, len(records))
    return Counter([record.topic() for record in records])


@contextmanager
def processed(group: str, counts: Mapping[str, int]) -> Iterator[None]:
    """Measure the work on a batch with so many records of each topic. An error counts by its class, and goes on."""
    attributes = {n.SYSTEM: n.KAFKA, n.OPERATION_NAME: "process", n.GROUP: group}
    began = time.perf_counter()
    try:
        yield
    except Exception as error:
        attributes[n.ERROR_TYPE] = type(error).__name__
        raise
    else:
        for topic, count in counts.items():
            _consumed.add(count, {n.SYSTEM: n.KAFKA, n.DESTINATION: topic, n.GROUP: group})
    finally:
        _durations.record(time.perf_counter() - began, attributes)
