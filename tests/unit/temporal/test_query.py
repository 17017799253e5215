# SPDX-License-Identifier: Apache-2.0
"""What a read asks for: whatever stands in an address is understood or refused, and nothing else happens."""

from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nerv.errors import Invalid, TooLarge
from nerv.service import Request
from nerv.service.routes import headers_of, query_words_of
from nerv.types import Principal
from nerv_temporal.api.formats import Format
from nerv_temporal.api.query import OF_MANY, asked_of_many, asked_of_stream
from nerv_temporal.positions import format_position, format_ranges, parse_position, parse_ranges, parse_whole_position

PARTITIONS = 4


def request(query: str, **headers: str) -> Request[None]:
    """A request with this query."""
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"query_string": query.encode(), "headers": raw}
    return Request(None, Principal("test", "test", frozenset()), b"", {}, query_words_of(scope), headers_of(scope))


NAMES = st.sampled_from([*(param.name for param in OF_MANY), "nonsense", ""])
NUMBERS = st.integers(-(2**70), 2**70).map(str)
INSTANTS = st.datetimes().map(lambda t: t.isoformat() + "Z") | st.sampled_from(
    ["2013-01-01", "9999-12-31T23:59:59-23:59"]
)
POSITIONS = st.lists(st.tuples(st.integers(-1, 5), st.integers(-1, 2**64)), max_size=5).map(
    lambda pairs: ",".join(f"{p}:{o}" for p, o in pairs)
)
RANGES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 99), st.integers(0, 99)), max_size=5).map(
    lambda rows: ",".join(f"{p}:{low}-{high}" for p, low, high in rows)
)
WORDS = st.sampled_from(["start", "end", "true", "false", "forward", "backward", "strong", "local", "a.*,b", "*", ","])
VALUES = st.text(max_size=40) | NUMBERS | INSTANTS | POSITIONS | RANGES | WORDS
ACCEPTS = st.sampled_from(
    ["", "*/*", "text/event-stream", "application/x-ndjson; q=1", "application/x-protobuf", "a,b;c"]
)


@given(pairs=st.lists(st.tuples(NAMES, VALUES), max_size=5), accept=ACCEPTS, again=st.none() | POSITIONS | NUMBERS)
@settings(max_examples=500, deadline=None)
def test_any_address_is_understood_or_refused(pairs: list[tuple[str, str]], accept: str, again: str | None) -> None:
    """Of one stream and of many: a read within its bounds, or Invalid or TooLarge with a reason."""
    headers = {"accept": accept} | ({} if again is None else {"last_event_id": again})
    one = request(urlencode(pairs, quote_via=quote, errors="surrogatepass"), **headers)
    for ask in (asked_of_stream, asked_of_many):
        try:
            asked = ask(one, PARTITIONS)
        except (Invalid, TooLarge):
            continue
        assert 1 <= asked.limit < 2**63
        assert 0 <= asked.query.from_version <= 2**63
        assert asked.format.streamed or (asked.limit <= 1000 and not asked.follow)
        assert not (asked.follow and (asked.query.backward or asked.left))
        assert asked.start is None or sorted(asked.start) == list(range(PARTITIONS))


@given(raw=st.binary(max_size=60))
@settings(max_examples=500, deadline=None)
def test_any_bytes_of_an_address_are_understood_or_refused(raw: bytes) -> None:
    """Also what is no UTF-8, half an escape, or a word that is given twice."""
    one = request(raw.decode("latin-1"))
    for ask in (asked_of_stream, asked_of_many):
        try:
            ask(one, PARTITIONS)
        except (Invalid, TooLarge):
            continue


@given(offsets=st.lists(st.integers(0, 10**18 - 1), min_size=PARTITIONS, max_size=PARTITIONS), data=st.data())
def test_positions_and_tokens_are_read_as_they_were_written(offsets: list[int], data: Any) -> None:
    """Text and back is the same."""
    position = dict(enumerate(offsets))
    assert parse_whole_position(format_position(position), PARTITIONS, "after") == position
    ranges = {p: (data.draw(st.integers(0, high)), high) for p, high in position.items()}
    assert parse_ranges(format_ranges(ranges), PARTITIONS, "after") == ranges
    assert parse_position("2:7", PARTITIONS, "min_position") == {2: 7}


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", Format.JSON),
        ("*/*", Format.JSON),
        ("text/event-stream", Format.SSE),
        ("text/html, application/x-ndjson;q=0.9", Format.NDJSON),
        ("application/x-protobuf", Format.PROTOBUF),
    ],
)
def test_the_form_of_an_answer_is_what_accept_names_first(accept: str, expected: Format) -> None:
    """Of the forms there are; a page of JSON where none is named."""
    assert asked_of_stream(request("", accept=accept), PARTITIONS).format is expected


def test_who_comes_back_goes_on_though_the_address_still_says_from_the_end() -> None:
    """A browser repeats the address with the id of the last event, which then counts."""
    asked = asked_of_many(
        request("follow=true&from=end", accept="text/event-stream", last_event_id="0:1,1:2,2:3,3:4"), PARTITIONS
    )
    assert (asked.from_end, asked.start) == (False, {0: 1, 1: 2, 2: 3, 3: 4})
    one = asked_of_stream(request("follow=true&from=end", accept="text/event-stream", last_event_id="41"), PARTITIONS)
    assert (one.from_end, one.query.from_version) == (False, 42)
