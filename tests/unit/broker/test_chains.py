# SPDX-License-Identifier: Apache-2.0
"""The middleware at the broker's door: all of a request or nothing, and a bounded memory of what it did."""

import pytest

import nerv
from nerv.bus import middleware
from nerv.errors import Refused, SchemaMismatch
from nerv.types import Event, utc_now
from nerv_broker.middleware import Chains

NOW = utc_now()


def events(*ids: str) -> list[Event[bytes]]:
    """Events with these ids."""
    return [Event(one, "test", "a.noted.v1", NOW, b"{}") for one in ids]


def chains(*steps: object, keep: int = 3) -> Chains:
    """The chains of an app with these steps."""
    app = nerv.App("test")
    app.use(*steps)  # type: ignore[arg-type]
    return Chains(app, keep)


def test_one_refused_event_refuses_the_request_with_every_fault() -> None:
    """Index, id and cause of each; a schema's fault is told apart from another."""
    asked = chains(middleware.validate(lambda e: "is bad" if e.id.startswith("bad") else None, "good"))
    with pytest.raises(SchemaMismatch, match=r"2 of 3 .* nothing was published; events\[1\]: .* is bad") as caught:
        asked.published("t", events("1", "bad1", "bad2"))
    assert [(fault["index"], fault["id"]) for fault in caught.value.errors] == [(1, "bad1"), (2, "bad2")]
    broken = chains(lambda e: [][0])
    with pytest.raises(Refused, match="IndexError") as other:
        broken.published("t", events("1"))
    assert not isinstance(other.value, SchemaMismatch)


def test_the_history_counts_all_and_shows_the_last() -> None:
    """Newest first, with the step that did it; of what is delivered there are counts only."""
    asked = chains(middleware.filter(lambda e: e.id != "2", "not_two"))
    asked.published("t", events("1", "2", "3", "4"))
    told = asked.history("t")
    assert told["steps"] == {"publish": ["filter(not_two)"], "subscribe": []}
    assert (told["published"]["passed"], told["published"]["dropped"]) == (3, 1)  # type: ignore[index]
    assert told["did"] == {"filter(not_two)": 1}
    assert [(e["id"], e["outcome"], e["by"]) for e in told["events"]] == [  # type: ignore[attr-defined]
        ("4", "passed", ()),
        ("3", "passed", ()),
        ("2", "dropped", ("filter(not_two)",)),
    ]
    assert "data" not in told["events"][0]  # type: ignore[index]


def test_a_refused_request_is_in_the_history_too() -> None:
    """With the cause."""
    asked = chains(middleware.validate(lambda e: "never", "no"))
    with pytest.raises(SchemaMismatch):
        asked.published("t", events("1"))
    told = asked.history("t")
    assert told["published"]["refused"] == 1  # type: ignore[index]
    assert "never" in told["events"][0]["detail"]  # type: ignore[index]


def test_memory_is_bounded_over_topics() -> None:
    """The topic that was longest unused is forgotten first."""
    asked = chains()
    for number in range(1100):
        asked.published(f"t{number}", events("1"))
    assert asked.history("t0")["events"] == []
    assert len(asked.history("t1099")["events"]) == 1  # type: ignore[arg-type]
