# SPDX-License-Identifier: Apache-2.0
"""How many partitions the topics have that are read: Kafka gives a topic more at any time, and tells nobody."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from nerv.kafka.survey import Survey


class Widths:
    """Of each topic that somebody reads. What it knows grows by looking, and by whoever begins to read."""

    def __init__(self, survey: Survey) -> None:
        self._survey = survey
        self._known: dict[str, int] = {}
        self._readers: Counter[str] = Counter()

    def of(self, topic: str) -> int:
        """How many partitions a topic has that is read."""
        return self._known[topic]

    @contextmanager
    def reading(self, topic: str, partitions: int) -> Iterator[None]:
        """Somebody reads a topic, which had so many when he began."""
        self._readers[topic] += 1
        self.note({topic: partitions})
        try:
            yield
        finally:
            self._readers[topic] -= 1
            if not self._readers[topic]:
                del self._readers[topic], self._known[topic]

    async def look(self) -> dict[str, int]:
        """Ask Kafka; answers how many partitions each topic has that is read. Raises Unavailable."""
        self.note(await self._survey.counts(list(self._readers)))
        return dict(self._known)

    def note(self, found: Mapping[str, int]) -> None:
        """What somebody has found."""
        for topic in found.keys() & self._readers.keys():
            self._known[topic] = max(found[topic], self._known.get(topic, 0))
