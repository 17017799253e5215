# SPDX-License-Identifier: Apache-2.0
"""Where an event has been: it comes nowhere twice, whatever bridges there are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nerv
from nerv.bus.via import HOPS, carried, places
from nerv.errors import Misconfigured
from nerv.types import Event, utc_now

NOW = utc_now()


def made(via: str | None = None) -> Event[bytes]:
    """An event that has been there."""
    return Event("1", "s", "t", NOW, b"", via=via)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), max_size=40))
def test_no_set_of_bridges_makes_a_loop(bridges: list[tuple[str, str]]) -> None:
    """Followed over every bridge from every place, an event ends, and is in no place twice."""
    going = [(start, made(), [start]) for start in "abcdef"]
    steps = 0
    while going:
        at, event, been = going.pop()
        steps += 1
        assert steps < 100_000
        assert len(been) == len(set(been))
        for source, target in set(bridges):
            if source == at and (there := carried(event, source, target)) is not None:
                assert places(there) == been
                going.append((target, there, [*been, target]))


def test_an_event_goes_so_far_and_no_further() -> None:
    """Eight bridges, and as many characters as an attribute may have."""
    event = made()
    for number in range(HOPS):
        event = carried(event, f"p{number}", f"p{number + 1}") or pytest.fail("stopped early")
    assert places(event)[0] == "p0"
    assert carried(event, f"p{HOPS}", "further") is None
    assert carried(made("x" * 200), "y" * 60, "z") is None


@pytest.mark.parametrize("end", ["", "topic:", "stream", "kafka:a", "bus:x", "topic:a\nb"])
def test_an_end_that_is_none_is_refused(end: str) -> None:
    """With what there is."""
    with pytest.raises(nerv.NervError):
        nerv.App("test").bridge("b", end, "topic:a")


def test_a_bridge_leads_from_one_place_to_another() -> None:
    """Not to where it begins."""
    app = nerv.App("test")
    app.bridge("there", "topic:a", "stream:a", types="x.*")
    with pytest.raises(Misconfigured, match="itself"):
        app.bridge("here", "bus", "bus")
    assert [str(end) for end in (app.bridges["there"].source, app.bridges["there"].target)] == ["topic:a", "stream:a"]
