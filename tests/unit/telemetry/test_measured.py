# SPDX-License-Identifier: Apache-2.0
"""What is recorded of batches and transactions, of those that fail as well."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from nerv.errors import Unavailable
from nerv.kafka import measuring
from nerv.kafka.measuring import Transactions
from nerv.telemetry import counter, distributions, histogram, processing
from nerv.telemetry import names as n
from nerv.telemetry.processing import by_topic, processed

Points = dict[str, list[tuple[float, dict[str, Any]]]]


class Record:
    """A record of a topic."""

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def topic(self) -> str:
        """Where it was read."""
        return self._topic


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Points]]:
    """What the instruments have recorded: counts of histograms, values of counters."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    meter: Meter = provider.get_meter("test")
    monkeypatch.setattr(distributions, "_histograms", {})
    monkeypatch.setattr(processing, "_durations", histogram(n.PROCESS_DURATION))
    monkeypatch.setattr(processing, "_consumed", counter(n.CONSUMED_MESSAGES, meter))
    monkeypatch.setattr(measuring, "_durations", histogram(n.OPERATION_DURATION))
    monkeypatch.setattr(measuring, "_sizes", histogram(n.COMMIT_RECORDS))

    def read() -> Points:
        data: Any = reader.get_metrics_data()
        counted = [] if data is None else [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]
        metrics: list[Any] = [*counted, *distributions.collected()]
        return {
            m.name: [(getattr(p, "count", None) or p.value, dict(p.attributes)) for p in m.data.data_points]
            for m in metrics
        }

    yield read
    provider.shutdown()


def test_a_batch_counts_its_records_by_topic_once_it_is_done(recorded: Callable[[], Points]) -> None:
    """And one duration, whatever the number of its records."""
    batch = [Record("a"), Record("b"), Record("a")]
    with processed("m.broker", by_topic(batch, {"a", "b"})):
        pass
    found = recorded()
    consumed = {point[1][n.DESTINATION]: point[0] for point in found[n.CONSUMED_MESSAGES]}
    assert consumed == {"a": 2, "b": 1}
    assert found[n.PROCESS_DURATION] == [(1, {n.SYSTEM: "kafka", n.OPERATION_NAME: "process", n.GROUP: "m.broker"})]


def test_a_batch_that_fails_counts_by_its_error_and_no_record_as_processed(recorded: Callable[[], Points]) -> None:
    """It comes again, and its records would be counted twice."""
    with pytest.raises(Unavailable), processed("m.broker", {"a": 3}):
        raise Unavailable("no")
    found = recorded()
    assert n.CONSUMED_MESSAGES not in found
    assert [point[1][n.ERROR_TYPE] for point in found[n.PROCESS_DURATION]] == ["Unavailable"]


def test_a_transaction_that_fails_has_a_duration_and_no_size(recorded: Callable[[], Points]) -> None:
    """One that is committed has both."""
    transactions = Transactions("m.history.v1")
    with transactions.one(7):
        pass
    with pytest.raises(Unavailable), transactions.one(5):
        raise Unavailable("no")
    found = recorded()
    assert found[n.COMMIT_RECORDS] == [(1, {n.DESTINATION: "m.history.v1"})]
    assert sorted(point[1].get(n.ERROR_TYPE, "") for point in found[n.OPERATION_DURATION]) == ["", "Unavailable"]
