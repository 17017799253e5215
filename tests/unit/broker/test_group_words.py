# SPDX-License-Identifier: Apache-2.0
"""What people and members say to a group: its description, its name, tokens, and which letters they mean."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerv.errors import Invalid, TooLarge
from nerv.kafka.deadletters import Origin, Place
from nerv_broker.deadletters.handlers import _chosen
from nerv_broker.deadletters.office import Chosen
from nerv_broker.groups.entries import LANES, Entry, Token
from nerv_broker.groups.spec import check_name, parse_spec


@given(st.text(max_size=60))
def test_a_text_is_a_token_or_refused(text: str) -> None:
    """Nothing else happens, whatever it is; a token's text leads back to it."""
    try:
        token = Token.parse(text)
    except Invalid:
        return
    assert str(Token.parse(str(token))) == str(token)


@pytest.mark.parametrize(
    "text", ["", "0:1", "0:1/l", "0:1/l/x", "x:1/l/1", "0:1:q/l/1", "0:1/../1", "0:1/l/1/2", "٣:1/l/1"]
)
def test_what_is_no_token_is_refused(text: str) -> None:
    """Before it becomes part of a key."""
    with pytest.raises(Invalid, match="token"):
        Token.parse(text)


def test_tokens_of_events_and_of_replays_are_told_apart() -> None:
    """Both are taken."""
    assert [Token.parse(text).entry for text in ("0:1/abc/2", "0:1:r/abc/2")] == ["0:1", "0:1:r"]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"topic": ""}, "topic"),
        ({"strategy": "random"}, "strategy"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"lease_seconds": float("nan")}, "lease_seconds"),
        ({"window": 10_001}, "window"),
        ({"types": ["x"] * 101}, "types"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_group_that_cannot_be_is_refused_with_the_path(changes: dict[str, Any], path: str) -> None:
    """Also words that nobody knows: they would be passed over in silence."""
    with pytest.raises(Invalid) as refused:
        parse_spec({"topic": "t"} | changes)
    assert str(refused.value.errors[0]["path"]).startswith(path)


@pytest.mark.parametrize("document", [None, [], "t", 1, {}])
def test_what_is_no_object_is_no_group(document: Any) -> None:
    """Nor is one without a topic."""
    with pytest.raises(Invalid, match="no group"):
        parse_spec(document)


@pytest.mark.parametrize("name", ["", "A", "a b", "a/b", "{a}", "-a", "a" * 65, "a\n", "é"])
def test_a_name_that_cannot_name_all_things_of_a_group_is_refused(name: str) -> None:
    """It names a stream, keys of Redis and a consumer group."""
    with pytest.raises(Invalid):
        check_name(name)


def test_letters_are_chosen_in_one_way() -> None:
    """By id, each once; by key, also by the empty one; or all."""
    assert _chosen({"letters": ["0:1", "0:2", "0:1"]}) == Chosen((Place(0, 1), Place(0, 2)))
    assert _chosen({"key": "", "rate": 5}) == Chosen(key="", rate=5)
    assert _chosen({"all": True}) == Chosen(everything=True)
    wrongs: list[dict[str, Any]] = [{}, {"all": False}, {"key": "k", "all": True}, {"letters": []}, {"letters": ["x"]}]
    for wrong in [*wrongs, {"letters": "0:1"}]:
        with pytest.raises(Invalid):
            _chosen(wrong)
    with pytest.raises(Invalid, match="rate"):
        _chosen({"all": True, "rate": 0})
    with pytest.raises(TooLarge):
        _chosen({"letters": [f"0:{n}" for n in range(501)]})


def test_events_of_a_key_have_one_lane_and_one_scope() -> None:
    """Those without one are spread, and wait for nobody; the empty key is one."""
    entries = [Entry(Origin("t", 0, n), key, b"", [], 0) for n, key in enumerate([b"k", b"k", b"", None, None])]
    lanes, scopes = [one.lane(LANES) for one in entries], [one.scope for one in entries]
    assert (lanes[0], scopes[0]) == (lanes[1], scopes[1])
    assert scopes[2] != ""
    assert (scopes[3], lanes[3] != lanes[4]) == ("", True)
