# SPDX-License-Identifier: Apache-2.0
"""What every implementation of `nerv.protocols.Projectable` does."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from nerv.errors import SchemaMismatch
from nerv.protocols import Projectable
from nerv.types import Event


def folded(projectable: Projectable[Any], events: Sequence[Event[bytes]]) -> list[Any]:
    """The state after each event."""
    states: list[Any] = []
    for event in events:
        states.append(projectable.function(states[-1] if states else None, projectable.decode(event)))
    return states


class ProjectableContract:
    """Inherit it and give the fixtures `projectable` and `events`: at least two of its types, in order."""

    def test_the_same_events_give_the_same_states(
        self, projectable: Projectable[Any], events: Sequence[Event[bytes]]
    ) -> None:
        """However often they are folded."""
        assert len(events) >= 2
        assert folded(projectable, events) == folded(projectable, events)

    def test_no_state_is_changed_by_going_on(
        self, projectable: Projectable[Any], events: Sequence[Event[bytes]]
    ) -> None:
        """A fold answers a new state; the one before it is as it was."""
        before = projectable.function(None, projectable.decode(events[0]))
        kept = deepcopy(before)
        projectable.function(before, projectable.decode(events[1]))
        assert before == kept

    def test_what_is_written_can_be_read(self, projectable: Projectable[Any], events: Sequence[Event[bytes]]) -> None:
        """Every state, and none, comes back equal; and folding on from it gives the same."""
        states = folded(projectable, events)
        for state in (None, *states):
            assert projectable.load(projectable.dump(state)) == state
        again = projectable.load(projectable.dump(states[-2]))
        assert projectable.function(again, projectable.decode(events[-1])) == states[-1]

    def test_data_that_it_cannot_be_are_refused(
        self, projectable: Projectable[Any], events: Sequence[Event[bytes]]
    ) -> None:
        """With an error that names the event."""
        with pytest.raises(SchemaMismatch, match=events[0].id):
            projectable.decode(replace(events[0], data=b"\xff{"))

    def test_a_state_that_is_none_of_its_is_not_written(self, projectable: Projectable[Any]) -> None:
        """Rather than something that cannot be read."""
        with pytest.raises((TypeError, ValueError)):
            projectable.dump(object())

    def test_it_names_itself_and_its_types(self, projectable: Projectable[Any], events: Sequence[Event[bytes]]) -> None:
        """Every event of the fixture is of a type that it folds."""
        assert projectable.name
        assert not projectable.types or {event.type for event in events} <= projectable.types
