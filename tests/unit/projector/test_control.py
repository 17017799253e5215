# SPDX-License-Identifier: Apache-2.0
"""What is decided about a projection: each step from what stands to what stands then."""

import pytest

from nerv.errors import Conflict
from nerv_projector.control import Control
from nerv_projector.control import model as control

BUILDING = Control(building=2, last=2)
SWITCHED = Control(live=2, previous=1, last=2)


def test_a_version_is_built_switched_to_and_gone_back_from() -> None:
    """The live version changes in one step, and the one before is kept until the next rebuild."""
    assert control.rebuild(2, None)(Control()) == BUILDING
    assert control.switch(2)(BUILDING) == SWITCHED
    back = control.rollback(1)(SWITCHED)
    assert (back.live, back.previous) == (1, 2)
    assert control.rebuild(3, 17)(back) == Control(live=1, building=3, last=3, since=17)
    assert control.release(1)(SWITCHED) == Control(live=2, last=2)
    assert control.cancel(2)(BUILDING) == Control(last=2)


def test_no_more_than_two_versions_are_ever_folded() -> None:
    """Each step leaves the live one and at most one other."""
    for stands in (Control(), BUILDING, SWITCHED, control.rebuild(3, None)(SWITCHED), control.rollback(1)(SWITCHED)):
        assert stands.live in stands.versions
        assert len(stands.versions) <= 2


@pytest.mark.parametrize(
    ("step", "stands", "says"),
    [
        (control.rebuild(3, None), BUILDING, "being built already"),
        (control.rebuild(2, None), Control(paused=True), "paused"),
        (control.rebuild(4, None), Control(), "next version is 2"),
        (control.switch(2), Control(), "what is: nothing"),
        (control.switch(3), BUILDING, "what is: 2"),
        (control.rollback(7), Control(), "no version 7 to go back to"),
        (control.release(1), Control(), "it is live"),
        (control.cancel(2), SWITCHED, "not being built any more"),
    ],
)
def test_a_step_that_does_not_fit_is_refused(step: control.Step, stands: Control, says: str) -> None:
    """It says why, and nothing changes."""
    with pytest.raises(Conflict, match=says):
        step(stands)


def test_what_stands_survives_the_topic() -> None:
    """Every field comes back."""
    full = Control(3, 5, None, 5, True, frozenset({"a", "b"}), 17)
    for stands in (Control(), BUILDING, SWITCHED, full):
        assert Control.from_bytes(stands.to_bytes()) == stands


def test_paused_and_skipped_go_with_every_version() -> None:
    """They are of the projection."""
    stands = control.skip("e1")(control.skip("e2")(control.pause(SWITCHED)))
    assert (stands.paused, stands.skipped, stands.live) == (True, frozenset({"e1", "e2"}), 2)
    assert control.resume(stands).paused is False


def test_every_step_may_be_repeated() -> None:
    """Whoever got no answer asks again; what stands already is answered, and changes nothing."""
    steps = (
        (control.rebuild(2, None), Control()),
        (control.switch(2), BUILDING),
        (control.rollback(1), SWITCHED),
        (control.cancel(2), BUILDING),
        (control.release(1), SWITCHED),
        (control.pause, Control()),
        (control.resume, Control(paused=True)),
        (control.skip("e1"), Control()),
    )
    for step, stands in steps:
        once = step(stands)
        assert once != stands
        assert step(once) == once
