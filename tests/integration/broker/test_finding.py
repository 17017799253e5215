# SPDX-License-Identifier: Apache-2.0
"""What a topic holds of chains of causes, looked for in a bounded number of records, on a real Kafka."""

from datetime import UTC, datetime

import pytest

from nerv.cloudevents import to_headers
from nerv.cloudevents.proto_format import from_us
from nerv.kafka import KafkaSettings, Outgoing, Position, Producer
from nerv.kafka.admin import Admin
from nerv.kafka.survey import Survey
from nerv.topics import Topic
from nerv.types import Event
from nerv_broker.topics import finding
from nerv_broker.topics.finding import Gathering, Search

LONG_AGO = datetime(2013, 1, 15, tzinfo=UTC)


def note(number: int) -> Event[bytes]:
    """Each third one belongs to the chain of the first."""
    chain = "e-0" if number % 3 == 0 and number else None
    return Event(f"e-{number}", "test", "thing.noted.v1", LONG_AGO, b"{}", correlation_id=chain)


async def filled(kafka: KafkaSettings, topic: str, count: int) -> list[Position]:
    """A topic of one partition with so many notes."""
    Admin(kafka, "test").create([Topic(topic, 1)])
    places = []
    async with Producer(kafka, "test") as producer:
        for number in range(count):
            event = note(number)
            places += await producer.publish([Outgoing(topic, event.data, None, to_headers(event), 0)])
    assert all(isinstance(place, Position) for place in places)
    return [place for place in places if isinstance(place, Position)]


async def test_a_chain_is_gathered_from_its_topic(kafka: str, mesh_name: str) -> None:
    """Its events and what it began with; nothing of what was written before the instant from which on it is asked for."""
    settings = KafkaSettings(bootstrap_servers=kafka)
    await filled(settings, mesh_name, 30)
    whole = Gathering(settings, "test", Survey(settings, "test"), ["e-0", "another"])
    await whole.forwards([(mesh_name, 0)], LONG_AGO)
    assert [record.offset() for record in whole.found] == list(range(0, 30, 3))
    assert (whole.looked, whole.whole, whole.until) == (30, True, None)
    later = Gathering(settings, "test", Survey(settings, "test"), ["e-0"])
    await later.forwards([(mesh_name, 0)], from_us(1000 * (whole.found[-1].timestamp()[1] + 60_000)))
    assert (later.looked, later.found, later.whole) == (0, [], True)


async def test_no_more_is_looked_at_than_may_be(kafka: str, mesh_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forwards it says up to when it has looked; backwards an event that is further back is not found."""
    monkeypatch.setattr(finding, "MOST", 10)
    settings = KafkaSettings(bootstrap_servers=kafka)
    await filled(settings, mesh_name, 30)
    survey = Survey(settings, "test")
    cut = Gathering(settings, "test", survey, ["e-0"])
    await cut.forwards([(mesh_name, 0)], LONG_AGO)
    assert {record.offset() for record in cut.found} >= {0, 3, 6, 9}
    assert not cut.whole
    assert cut.until is not None
    for event, found in (("e-25", True), ("e-3", False)):
        search = Search(settings, "test", survey, event)
        record = await search.backwards([(mesh_name, 0)], datetime.now(UTC))
        assert (record is not None) is found, event
