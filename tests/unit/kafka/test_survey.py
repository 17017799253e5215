# SPDX-License-Identifier: Apache-2.0
"""Questions to Kafka end, whatever its client does."""

from collections.abc import Mapping
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from nerv.errors import Unavailable
from nerv.kafka import KafkaSettings, survey


class Silent:
    """A client whose requests are never settled."""

    def poll(self, seconds: float) -> int:
        """It has nothing to say."""
        return 0

    def list_consumer_groups(self, **words: Any) -> "Future[Any]":
        """Nobody answers."""
        return Future()


async def test_a_client_that_never_answers_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asked is told that Kafka is not there, and the next question goes to another client."""
    monkeypatch.setattr(survey, "REQUEST_SECONDS", 0.01)
    monkeypatch.setattr(survey, "PATIENCE_SECONDS", 0.01)
    asking = survey.Survey(KafkaSettings(bootstrap_servers="127.0.0.1:9"), "test")
    silent = Silent()
    asking._client = silent
    with pytest.raises(Unavailable, match="made anew"):
        await asking.groups()
    assert asking._client is not silent


class Behind:
    """A client that remembers an epoch from before Kafka's restart, until it looks at the topic; and one partition more is
    answered by nobody at first.
    """

    def __init__(self) -> None:
        self.looked, self.asked = 0, 0

    def poll(self, seconds: float) -> int:
        """It has nothing to say."""
        return 0

    def list_topics(self, topic: str, seconds: float) -> None:
        """What there is now."""
        self.looked += 1

    def list_offsets(self, asked: Mapping[TopicPartition, Any], **words: Any) -> "dict[TopicPartition, Future[Any]]":
        """The offsets, once it knows the epoch."""
        self.asked += 1
        found: dict[TopicPartition, Future[Any]] = {one: Future() for one in asked}
        for future in found.values():
            if not self.looked:
                future.set_exception(KafkaException(KafkaError(KafkaError.FENCED_LEADER_EPOCH)))
            else:
                future.set_result(SimpleNamespace(offset=-1001 if self.asked == 2 else 7))
        return found


async def test_offsets_are_known_again_after_a_restart_of_kafka() -> None:
    """An epoch of before is corrected by a look at the topic; an offset that is none is no answer."""
    asking, behind = survey.Survey(KafkaSettings(bootstrap_servers="127.0.0.1:9"), "test"), Behind()
    asking._client = behind
    assert await asking.ends([("t", 0)]) == {("t", 0): 7}
    assert (behind.looked, behind.asked) == (2, 3)
