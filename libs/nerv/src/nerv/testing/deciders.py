# SPDX-License-Identifier: Apache-2.0
"""Given, when, then: a decider is tested by what had happened, what is asked, and what comes of it. Nothing is stored."""

from typing import Any

from nerv.app import App
from nerv.deciders import Refusal
from nerv.deciders.decider import decide
from nerv.model import EventModel
from nerv.types import Event, utc_now


class Scenario:
    """What had happened. Make one with `given`."""

    def __init__(self, app: App, decider: str, events: tuple[EventModel, ...]) -> None:
        app.check()
        self._app, self._decider = app, decider
        now = utc_now()
        self._events = [
            Event(str(n), "given", app.type_of(e), now, e.model_dump_json().encode(), f"{decider}-given", now, n)
            for n, e in enumerate(events, 1)
        ]

    def when(self, command: Any) -> "Outcome":
        """A command comes."""
        return Outcome(decide(self._app, self._decider, self._events, command))


class Outcome:
    """What came of it."""

    def __init__(self, found: tuple[EventModel, ...] | Refusal) -> None:
        self.found = found

    def then(self, *expected: EventModel) -> None:
        """Exactly these events, in this order; none for a command that changes nothing."""
        assert self.found == expected, f"expected {expected}, got {self.found}"

    def then_refused(self, code: str) -> Refusal:
        """A refusal by this rule; answers it, for a look at its text."""
        assert isinstance(self.found, Refusal), f"expected to be refused by {code}, got {self.found}"
        assert self.found.code == code, f"expected to be refused by {code}, got {self.found}"
        return self.found


def given(app: App, decider: str, *events: EventModel) -> Scenario:
    """A stream of `decider` in which these events had happened."""
    return Scenario(app, decider, events)
