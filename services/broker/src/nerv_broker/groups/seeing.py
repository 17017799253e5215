# SPDX-License-Identifier: Apache-2.0
"""What a group sees of a record: the event behind the topic's middleware, where it is one that it wants."""

from nerv.types import Event
from nerv_broker.groups.entries import Entry
from nerv_broker.middleware import Chains
from nerv_broker.subscriptions.choosing import Chooses


class Sight:
    """The middleware comes before the choice, as for all subscribers: nobody finds out by choosing what was redacted."""

    def __init__(self, chains: Chains, chooses: Chooses) -> None:
        self._chains, self._chooses = chains, chooses

    def event(self, entry: Entry) -> Event[bytes] | None:
        """The event, or None for one that is not for the group. Raises Invalid for what is none, Refused by a middleware."""
        [behind] = self._chains.delivered(entry.origin.topic, [entry.event()])
        if behind.error is not None:
            raise behind.error
        return behind.event if behind.event is not None and self._chooses(behind.event) else None
