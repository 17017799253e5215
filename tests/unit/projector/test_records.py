# SPDX-License-Identifier: Apache-2.0
"""Records as the projector writes and reads them."""

import pytest

from nerv.errors import Invalid
from nerv.kafka.deadletters import dead_letter
from nerv.telemetry import Carrier
from nerv_projector.records import origin_of, parse, rekeyed
from tests.unit.projector.records_in_memory import Record, event, record

EVENT = event("trip.ended.v1", "plane-N1", {"plane": "N1"}, 4)


def received(topic: str, outgoing: tuple[object, ...]) -> Record:
    """What a consumer gets of a record that was produced."""
    _, value, key, headers, _ = outgoing
    return Record(topic, 2, 9, key, value, list(headers))  # type: ignore[arg-type,call-overload]  # as it was produced


def test_a_rekeyed_record_says_where_it_comes_from() -> None:
    """Epoch, partition and position survive, and so does the event."""
    source = record(EVENT, offset=11, partition=3)
    back = received(
        "m.rekeyed.x.v1", rekeyed("m.rekeyed.x.v1", "JFK", (parse(source), source), ("epoch", 3, 11 << 10), None)
    )
    assert origin_of(back) == ("epoch", 3, 11 << 10)
    assert back.key() == b"JFK"
    assert parse(back).event() == EVENT


def test_an_event_with_two_keys_keeps_its_origins_apart() -> None:
    """Rekeying leaves the headers of the record that it reads alone."""
    source = record(EVENT, offset=11)
    first = rekeyed("t", "JFK", (parse(source), source), ("epoch", 0, 1), None)
    second = rekeyed("t", "LAX", (parse(source), source), ("epoch", 0, 2), None)
    assert origin_of(received("t", first)) == ("epoch", 0, 1)
    assert origin_of(received("t", second)) == ("epoch", 0, 2)
    assert source.headers() == record(EVENT, offset=11).headers()


def test_the_trace_goes_on_from_the_span_that_rekeyed() -> None:
    """The trace context of a record is that of its hop."""
    source = record(EVENT, offset=11)
    source.headers_.append(("traceparent", b"00-old"))
    made = rekeyed("t", "JFK", (parse(source), source), ("epoch", 0, 1), Carrier("00-new", None))
    assert [value for name, value in made.headers if name == "traceparent"] == [b"00-new"]


def test_what_no_rekeyer_wrote_is_refused() -> None:
    """A record of somebody else in the mesh's topic is not folded."""
    with pytest.raises(Invalid):
        origin_of(record(EVENT, offset=1))


def test_a_dead_letter_holds_the_original() -> None:
    """Bytes, key and headers stay; cause, origin, attempt and writer come along."""
    letter = dead_letter("m.deadletters.v1", record(EVENT, offset=11, partition=3), "ValueError: no", "fold-x")
    assert (letter.value, letter.key) == (EVENT.data, b"plane-N1")
    headers = dict(letter.headers)
    assert headers["ce_id"] == b"e4"
    assert headers["nerv_deadletter_cause"] == b"ValueError: no"
    assert headers["nerv_deadletter_origin"] == b"m.history.v1/3/11"
    assert headers["nerv_deadletter_by"] == b"fold-x"
