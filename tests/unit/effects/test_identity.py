# SPDX-License-Identifier: Apache-2.0
"""The identity of effects: the same for a redelivery, different for everything else."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from nerv.effects import Append, append, effect_ids
from nerv.model import EventModel
from nerv.types import Event


class Noted(EventModel):
    """Something."""

    n: int


def cause(event_id: str = "1", source: str = "s") -> Event[bytes]:
    """The event that a reaction reacts to."""
    return Event(event_id, source, "t", datetime(2013, 1, 1, tzinfo=UTC), b"{}")


def appends(*streams: str) -> list[Append]:
    """An append to each stream."""
    return [append(stream, Noted(n=1)) for stream in streams]


def test_a_redelivery_has_the_same_ids() -> None:
    """The ids hang on nothing but what was asked for and why."""
    first = effect_ids("app", "reaction", cause(), appends("a", "b"))
    assert effect_ids("app", "reaction", cause(), appends("a", "b")) == first
    assert len(set(first)) == 2


def test_two_effects_on_one_target_differ() -> None:
    """The ordinal tells them apart; an effect on another target between them changes nothing."""
    [one, two] = effect_ids("app", "reaction", cause(), appends("a", "a"))
    assert one != two
    assert effect_ids("app", "reaction", cause(), appends("a", "b", "a")) == [
        one, effect_ids("app", "reaction", cause(), appends("b"))[0], two,
    ]  # fmt: skip


@given(st.lists(st.tuples(*[st.text("ab:1", max_size=3)] * 4), min_size=2, max_size=2, unique=True))
def test_other_causes_have_other_ids(parts: list[tuple[str, str, str, str]]) -> None:
    """App, reaction, source and event id: whichever differs, and however they run together, the id differs."""
    ids = {effect_ids(app, name, cause(i, source), appends("x"))[0] for app, name, source, i in parts}
    assert len(ids) == 2
