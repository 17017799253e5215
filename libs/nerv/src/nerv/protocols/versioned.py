# SPDX-License-Identifier: Apache-2.0
"""Versioned: states of which no version is ever lost."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol

from nerv.types import Description, Event, S, VersionedState


class Versioned(Protocol[S]):
    """States under keys, each as it is, as it was at any version, and as of any instant. It only answers: nothing is written.

    The state at a version, and what was known at a recorded instant, never change once they have been asked for. As of a
    valid instant the answer changes when something is recorded later that had happened by then. Errors: NotFound where a key
    has no event, Invalid for an instant to come, Unavailable. Implemented by `nerv.projections.StateProjector` over a
    history of any kind, and by `nerv.client.States` (what *temporal* folds).
    """

    async def state(
        self,
        key: str,
        *,
        version: int | None = None,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
    ) -> VersionedState[S | None]:
        """The state at a version (None: the latest), of what had happened by `as_of` and was recorded by `known_at`, UTC.

        All bounds hold together. `version` of the answer is that of the last event it takes in; before the first it is 0, and
        there is no state.
        """
        ...

    def events(self, key: str, *, after: int = 0, to: int | None = None) -> AsyncIterator[Event[bytes]]:
        """What made it so: the events of a key beyond version `after` and up to `to`, in order of version."""
        ...

    def describe(self) -> Description:
        """What it is, and how often it was asked."""
        ...
