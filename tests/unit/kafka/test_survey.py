# SPDX-License-Identifier: Apache-2.0
"""Questions to Kafka end, whatever its client does."""

from concurrent.futures import Future
from typing import Any

import pytest

from nerv.errors import Unavailable
from nerv.kafka import KafkaSettings, survey


class Silent:
    """A client whose requests are never settled."""

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
