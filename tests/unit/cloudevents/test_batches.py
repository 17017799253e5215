# SPDX-License-Identifier: Apache-2.0
"""A batch of events that are alike is read as each of them is by itself, with what is wrong told as of one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerv.cloudevents.json_format import ALIKE, from_mapping, from_mappings
from nerv.errors import Invalid, NervError, TooLarge
from nerv.types import Event

PLAIN: dict[str, Any] = {
    "specversion": "1.0", "id": "1", "source": "s", "type": "a.b.v1", "time": "2013-01-15T12:00:00Z", "subject": "x",
    "datacontenttype": "application/json", "data": {"n": 1},
}  # fmt: skip
ODD: tuple[Any, ...] = (
    "",
    None,
    1,
    "a\n",
    "x" * 257,
    "\ufffd",
    [],
    {},
    True,
    "2013-01-15T12:00:00",
    "2013-01-15T13:00:00+01:00",
    "0.3",
    "text/plain",
)


def _each(documents: list[dict[str, Any]]) -> list[Event[bytes]] | tuple[type[NervError], str]:
    found: list[Event[bytes]] = []
    for number, document in enumerate(documents):
        try:
            found.append(from_mapping(document, f"events[{number}]", require_time=True))
        except (Invalid, TooLarge) as error:
            return type(error), error.detail
    return found


def _batch(documents: list[dict[str, Any]]) -> list[Event[bytes]] | tuple[type[NervError], str]:
    try:
        return from_mappings(documents, require_time=True)
    except (Invalid, TooLarge) as error:
        return type(error), error.detail


@given(
    gone=st.sets(st.sampled_from(sorted(PLAIN)), max_size=3),
    odd=st.dictionaries(st.integers(0, ALIKE), st.tuples(st.sampled_from([*PLAIN, "data_base64", "via"]), st.sampled_from(ODD))),
    count=st.integers(ALIKE - 1, ALIKE + 1),
)  # fmt: skip
def test_a_batch_is_read_as_its_events_are(gone: set[str], odd: dict[int, tuple[str, Any]], count: int) -> None:
    """Whatever attributes are left out of all, and whatever is odd about some."""
    documents = [{name: value for name, value in PLAIN.items() if name not in gone} for _ in range(count)]
    for place, (name, value) in odd.items():
        if place < count:
            documents[place][name] = value
    assert _batch(documents) == _each(documents)


@pytest.mark.parametrize("strange", [[], "text", 1, None, {}, {"id": "1"}])
def test_what_is_no_event_is_named(strange: Any) -> None:
    """Also where others are events, or all are as strange."""
    for documents in ([strange] * ALIKE, [dict(PLAIN)] * ALIKE + [strange]):
        with pytest.raises(Invalid, match=rf"^events\[{0 if documents[0] == strange else ALIKE}\]"):
            from_mappings(documents)
